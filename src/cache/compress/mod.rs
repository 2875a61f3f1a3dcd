//! Copies of stored responses in other codings: made once, in the background, for those who can
//! read them.
//!
//! A copy is a part of the response that it was made of, not a response of its own: one fetch, one
//! lifetime, one validation and one purge serve all codings. Whoever comes before it is made gets
//! the body as it is; nobody waits.

mod encode;

use std::sync::Arc;

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::OwnedSemaphorePermit;

use self::encode::{Refusal, encode};
use super::{Job, Shared, respond};
use crate::body::Blocks;
use crate::key::CacheKey;
use crate::policy::{self, Coding, Compression, Precondition, StoredHead};
use crate::store::{CodedCopy, Content, Copies, StoredResponse};

/// In which form a stored response answers a request.
pub(super) enum Form<'a> {
    /// As it came from the origin.
    AsStored,
    /// By a copy.
    Coded(&'a CodedCopy),
    /// By a 304 that speaks of a copy which the client has, and Seawall has not.
    Known(Box<StoredHead>),
}

/// The form for one request, and the copy that would be better if it were there.
pub(super) struct Choice<'a> {
    pub(super) form: Form<'a>,
    pub(super) missing: Option<Coding>,
}

impl Choice<'_> {
    const AS_STORED: Self = Self { form: Form::AsStored, missing: None };
}

/// Chooses: what the client names by its tag if that can be had, else the best that it accepts.
pub(super) fn choose<'a>(head: &StoredHead, copies: &'a Copies, job: &Job) -> Choice<'a> {
    if !job.config.compress {
        return Choice::AS_STORED;
    }
    let compression = &job.config.compression;
    if !compression.covers(head) {
        return Choice::AS_STORED;
    }
    let accepted = compression.accepted(job.headers());
    let Some(&best) = accepted.first() else {
        copies.want_identity();
        return Choice::AS_STORED;
    };
    let missing = (!copies.is_begun(best)).then_some(best);
    let mut there = accepted.iter().filter_map(|coding| copies.get(*coding));
    let form = match named(head, there.clone(), &accepted, job) {
        Some(form) => form,
        None => there.next().map_or(Form::AsStored, |copy| Form::Coded(copy)),
    };
    Choice { form, missing }
}

/// The form whose entity tag the request names: who has one gets a 304 or a part of that.
fn named<'a>(
    head: &StoredHead,
    mut there: impl Iterator<Item = &'a Arc<CodedCopy>>,
    accepted: &[Coding],
    job: &Job,
) -> Option<Form<'a>> {
    let request = job.headers();
    if ![IF_NONE_MATCH, IF_MATCH, IF_RANGE].iter().any(|name| request.contains_key(name)) {
        return None;
    }
    let is_named = |head: &StoredHead| {
        head.validators().etag.as_ref().is_some_and(|tag| policy::names_tag(request, tag))
    };
    if let Some(copy) = there.find(|copy| is_named(&copy.head)) {
        return Some(Form::Coded(copy));
    }
    if is_named(head) {
        return Some(Form::AsStored);
    }
    known(head, accepted, job).map(|head| Form::Known(Box::new(head)))
}

/// The head of a copy that the client has, if a 304 is to tell it that this is still good.
fn known(head: &StoredHead, accepted: &[Coding], job: &Job) -> Option<StoredHead> {
    let tag = head.validators().etag.as_ref()?;
    let (coding, level) = policy::named_copy(job.headers(), tag)?;
    let known = accepted.contains(&coding).then(|| head.coded(coding, level, 0))?;
    (respond::evaluate(job, &known) == Precondition::NotModified).then_some(known)
}

/// The tag of such a copy, where the response itself is on its way.
pub(super) fn known_tag(head: &StoredHead, job: &Job) -> Option<HeaderValue> {
    if !covers(head, job) || !job.headers().contains_key(IF_NONE_MATCH) {
        return None;
    }
    known(head, &job.config.compression.accepted(job.headers()), job)?.get(&ETAG)
}

/// Adds `Vary` to what others get in another coding.
pub(super) fn vary(head: &StoredHead, job: &Job, headers: &mut HeaderMap) {
    if covers(head, job) {
        policy::vary_by_coding(headers);
    }
}

/// Whether copies of a response are made.
fn covers(head: &StoredHead, job: &Job) -> bool {
    job.config.compress && job.config.compression.covers(head)
}

impl Job {
    /// Where a part is asked for that belongs to some date, and the client may have begun with a
    /// copy, nobody can tell of which form it has the rest: it gets the whole.
    pub(super) fn forget_part_by_date(&mut self) {
        if !self.config.compress || !policy::resumes_by_date(self.headers()) {
            return;
        }
        if !self.config.compression.accepted(self.headers()).is_empty() {
            self.request.head.headers.remove(RANGE);
            self.request.head.headers.remove(IF_RANGE);
        }
    }

    /// The copy that is to be made of a response as soon as it is stored, for those who ask as
    /// this request does.
    pub(super) fn wanted_copy(&self, head: &StoredHead) -> Option<Wanted> {
        if !covers(head, self) || *self.method() != Method::GET {
            return None;
        }
        let compression = Arc::clone(&self.config.compression);
        let coding = compression.accepted(self.headers()).first().copied();
        Some(Wanted { coding, compression })
    }
}

/// A copy that somebody wants; `None`: the response as it is.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) coding: Option<Coding>,
    pub(super) compression: Arc<Compression>,
}

impl Shared {
    /// Has a copy made, unless that was begun before, or too many others are being made: then
    /// whoever comes next has another try.
    pub(super) fn make_copy(
        self: &Arc<Self>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        coding: Coding,
        compression: &Compression,
    ) {
        let Content::Whole(blocks) = &stored.content else { return };
        if !compression.is_worth(blocks.len()) {
            return;
        }
        let Ok(place) = Arc::clone(&self.compressors).try_acquire_owned() else { return };
        if !stored.copies.begin(coding) {
            return;
        }
        let work = Work {
            shared: Arc::clone(self),
            key: key.clone(),
            stored: Arc::clone(stored),
            blocks: Arc::clone(blocks),
            coding,
            level: compression.levels.of(coding),
            _place: place,
        };
        self.background.spawn_blocking(move || work.run());
    }
}

impl Shared {
    /// The first copy of what has just been stored, or a note that nobody has asked for one.
    pub(super) fn begin_with(
        self: &Arc<Self>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        wanted: &Wanted,
    ) {
        match wanted.coding {
            Some(coding) => self.make_copy(key, stored, coding, &wanted.compression),
            None => stored.copies.want_identity(),
        }
    }

    /// A stored response in another form.
    fn reseal(
        &self,
        key: &CacheKey,
        old: &StoredResponse,
        content: Content,
        copies: Copies,
    ) -> Option<Arc<StoredResponse>> {
        let (head, stamp) = (old.head.clone(), old.stamp.again());
        self.seal_with(key, head, content, stamp, old.useless_at, copies)
    }
}

/// A copy being made, on a thread of its own.
struct Work {
    shared: Arc<Shared>,
    key: CacheKey,
    stored: Arc<StoredResponse>,
    blocks: Arc<Blocks>,
    coding: Coding,
    level: u8,
    _place: OwnedSemaphorePermit,
}

/// A copy has to save a tenth to be worth its memory.
const WORTH_DIVISOR: u64 = 10;

impl Work {
    fn run(self) {
        match self.encoded() {
            Ok(blocks) => {
                if !self.deposit(&Arc::new(blocks)) {
                    self.stored.copies.give_up(self.coding);
                }
            }
            Err(Refusal::NoMemory) => self.stored.copies.give_up(self.coding),
            // It would come to the same again.
            Err(Refusal::TooLarge | Refusal::Failed) => {}
        }
    }

    fn encoded(&self) -> Result<Blocks, Refusal> {
        let length = self.blocks.len();
        let memory = &self.shared.memory;
        let workspace = memory.charge(encode::workspace(self.coding, length));
        let _workspace = workspace.ok_or(Refusal::NoMemory)?;
        let mut charge = memory.charge(0).ok_or(Refusal::NoMemory)?;
        let most = length - length / WORTH_DIVISOR;
        let blocks = encode(&self.blocks, self.coding, self.level, most, &mut charge)?;
        Ok(Blocks::new(blocks, Some(charge)))
    }

    /// Puts the copy beside what it was made of, if that is still there: another head may have
    /// come to it meanwhile, and other copies.
    fn deposit(&self, blocks: &Arc<Blocks>) -> bool {
        let memory = &self.shared.memory;
        // Each failure means that somebody else has succeeded.
        (0..MOST_TRIES).any(|_| {
            let Some(old) = self.today() else { return false };
            let &Self { coding, level, .. } = self;
            let head = old.head.coded(coding, level, blocks.len());
            let copy = CodedCopy { coding, level, head, blocks: Arc::clone(blocks) };
            let content = old.content.clone();
            let Some(new) = self.shared.reseal(&self.key, &old, content, old.copies.with(copy))
            else {
                return false;
            };
            memory.swap(&self.key, &old, &new, self.shared.clock.now())
        })
    }

    /// What is stored of the body by now.
    fn today(&self) -> Option<Arc<StoredResponse>> {
        let variants = self.shared.memory.peek(self.key.as_str())?;
        let same = |stored: &&Arc<StoredResponse>| match &stored.content {
            Content::Whole(blocks) => Arc::ptr_eq(blocks, &self.blocks),
            Content::Parts(_) => false,
        };
        variants.as_slice().iter().find(same).cloned()
    }
}

/// How often a copy is tried to be put beside a response that changes all the time.
const MOST_TRIES: usize = 8;
