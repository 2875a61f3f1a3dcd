//! Copies of stored responses in other codings: made once, in the background, for those who can
//! read them.
//!
//! A copy is a part of the response that it was made of, not a response of its own: one fetch, one
//! lifetime, one validation and one purge serve all codings. Whoever comes before it is made gets
//! the body as it is; nobody waits. Once there is a copy, the body as it came is kept only where
//! somebody has asked for it; whoever does so later has it decoded, once.

mod encode;
mod work;

use std::sync::Arc;
use std::thread::available_parallelism;

use http::header::{ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, Method};
use tokio::time::timeout;

use super::lookup::{self, Decision, Plan};
use super::{Cache, Job, Origin, Shared, respond};
use crate::clock::Timestamp;
use crate::context::Response;
use crate::error::{ErrorKind, ProxyError};
use crate::headers::Present;
use crate::key::CacheKey;
use crate::limit::Place;
use crate::policy::{self, Coding, Compression, Precondition, Reason, StoredHead};
use crate::store::remote::Lease;
use crate::store::{CodedCopy, Content, Copies, StoredResponse};

/// How many copies may be made at once: half of the cores are for those who are served meanwhile.
pub(super) fn compressors() -> usize {
    (cores() / 2).max(1)
}

/// How many may be decoded at once: it is quick, and somebody waits for it.
pub(super) fn decoders() -> usize {
    cores()
}

fn cores() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

/// In which form a stored response answers a request.
pub(super) enum Form<'a> {
    /// As it came from the origin.
    AsStored,
    /// By a copy.
    Coded(&'a CodedCopy),
    /// By a 304 that speaks of a form which the client has, and Seawall has not.
    Known(Box<StoredHead>),
}

/// What a request would rather have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: it got the best, or there is nothing to be made.
    None,
    /// The response as it came: it has to stay.
    Identity,
    /// A copy that is not there.
    Copy(Coding),
}

/// The form for one request, and what is to be noted of it where the request is answered.
pub(super) struct Choice<'a> {
    pub(super) form: Form<'a>,
    pub(super) wish: Wish,
}

impl Choice<'_> {
    const AS_STORED: Self = Self { form: Form::AsStored, wish: Wish::None };

    /// Whether the response can be answered in this form, its body being there as `content`.
    pub(super) fn is_at_hand(&self, content: &Content) -> bool {
        !matches!((&self.form, content), (Form::AsStored, Content::Coded))
    }
}

/// Whether what is stored can answer a request without being decoded first.
pub(super) fn is_at_hand(stored: &StoredResponse, job: &Job) -> bool {
    !matches!(stored.content, Content::Coded) || choose_of(stored, job).is_at_hand(&stored.content)
}

/// The form in which a stored response answers a request.
pub(super) fn choose_of<'a>(stored: &'a StoredResponse, job: &Job) -> Choice<'a> {
    choose(&stored.head, &stored.content, &stored.copies, job)
}

/// Chooses: what the client names by its tag if that can be had, else the best that it accepts.
/// Changes nothing: whoever only looks chooses too.
pub(super) fn choose<'a>(
    head: &StoredHead,
    content: &Content,
    copies: &'a Copies,
    job: &Job,
) -> Choice<'a> {
    if !covers(head, job) {
        let known = known(head, job).map(|head| Form::Known(Box::new(head)));
        return known.map_or(Choice::AS_STORED, |form| Choice { form, ..Choice::AS_STORED });
    }
    let accepted = job.config.compression.accepted(job.headers());
    let Some(&best) = accepted.first() else {
        return Choice { wish: Wish::Identity, ..Choice::AS_STORED };
    };
    let wish = if copies.is_begun(best) { Wish::None } else { Wish::Copy(best) };
    let mut there = accepted.iter().filter_map(|coding| copies.get(*coding));
    let form = match named((head, content), there.clone(), job) {
        Some(form) => form,
        None => there.next().map_or(Form::AsStored, |copy| Form::Coded(copy)),
    };
    Choice { form, wish }
}

/// The form whose entity tag the request names: who has one gets a 304 or a part of that.
fn named<'a>(
    (head, content): (&StoredHead, &Content),
    mut there: impl Iterator<Item = &'a Arc<CodedCopy>>,
    job: &Job,
) -> Option<Form<'a>> {
    let (request, present) = (job.headers(), job.request.present);
    if !present.any(Present::CONDITIONS) && !present.any(Present::RANGES) {
        return None;
    }
    let is_named = |head: &StoredHead| {
        head.validators().etag.is_some_and(|tag| policy::names_tag(request, tag))
    };
    if let Some(copy) = there.find(|copy| is_named(&copy.head)) {
        return Some(Form::Coded(copy));
    }
    if is_named(head) {
        let is_304 = || respond::evaluate(job, head) == Precondition::NotModified;
        let bodiless = matches!(content, Content::Coded) && is_304();
        return Some(if bodiless { Form::Known(head.clone().into()) } else { Form::AsStored });
    }
    known(head, job).map(|head| Form::Known(Box::new(head)))
}

/// The head of a copy that the client has, if a 304 is to tell it that this is still good. It may
/// have that from before compression was turned off, for all or for this.
fn known(head: &StoredHead, job: &Job) -> Option<StoredHead> {
    let request = job.headers();
    if !respond::is_conditional(job) || !head.is_transformable() {
        return None;
    }
    let (coding, level) = policy::named_copy(request, head.validators().etag?)?;
    let known = head.coded(coding, level);
    (respond::evaluate(job, &known) == Precondition::NotModified).then_some(known)
}

/// Makes `headers`, of the response itself, speak of such a copy; whether the client has one.
pub(super) fn tell_of_known(head: &StoredHead, job: &Job, headers: &mut HeaderMap) -> bool {
    let Some(tag) = known(head, job).and_then(|known| known.get(&ETAG)) else { return false };
    policy::speak_of_copy(headers, tag);
    true
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
        let ranges = self.request.present.any(Present::RANGES);
        if !ranges || !self.config.compress || !policy::resumes_by_date(self.headers()) {
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
    /// Does what a choice that was answered by calls for.
    pub(super) fn heed(self: &Arc<Self>, wish: Wish, stored: &Arc<StoredResponse>, job: &Job) {
        match wish {
            Wish::None => {}
            Wish::Identity => stored.copies.want_identity(),
            Wish::Copy(coding) => {
                let key = || job.target.key();
                self.make_copy(key, stored, coding, &job.config.compression);
            }
        }
    }

    /// The first copy of what has just been stored, or a note that it is wanted as it is.
    pub(super) fn begin_with(
        self: &Arc<Self>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        wanted: &Wanted,
    ) {
        match wanted.coding {
            Some(coding) => {
                self.make_copy(|| key.clone(), stored, coding, &wanted.compression);
            }
            None => stored.copies.want_identity(),
        }
    }

    /// Has a copy made, unless that was begun before, or too many others are being made: then
    /// whoever comes next has another try.
    pub(super) fn make_copy(
        self: &Arc<Self>,
        // Most calls come to nothing, each time that what is too small is served.
        key: impl FnOnce() -> CacheKey,
        stored: &Arc<StoredResponse>,
        coding: Coding,
        compression: &Compression,
    ) {
        if !compression.is_worth(work::plain_length(stored)) {
            return;
        }
        let Some(source) = work::Source::of(stored) else { return };
        let Ok(place) = Arc::clone(&self.compressors).try_acquire_owned() else { return };
        if stored.copies.begin(coding) {
            let level = compression.levels.of(coding);
            let work = work::Encoding::new(self, &key(), stored, source, coding, level);
            self.background.spawn_blocking(move || {
                work.run();
                drop(place);
            });
        }
    }

    /// Offers a response, fetched under this lease, to the tier behind memory, which has bodies as they came: what is here in
    /// copies alone is decoded for that, unless too many others are.
    pub(super) fn offer(
        self: &Arc<Self>,
        key: &CacheKey,
        stored: &Arc<StoredResponse>,
        began: Timestamp,
        lease: Option<Lease>,
    ) {
        let Some(tier) = &self.tier else { return };
        if !matches!(stored.content, Content::Coded) {
            return tier.offer(key, stored, began, lease);
        }
        let Ok(place) = Arc::clone(&self.decoders).try_acquire_owned() else { return };
        if let Some(work) = work::Offering::new(self, key, stored, (began, lease)) {
            self.background.spawn_blocking(move || {
                work.run();
                drop(place);
            });
        }
    }

    /// What to do with a request when what is stored for it has been decoded.
    pub(super) async fn decoded(
        self: &Arc<Self>,
        job: &Job,
        stored: &Arc<StoredResponse>,
        came: Timestamp,
    ) -> Decision {
        let _pin = stored.copies.pin();
        // Without it the request is handled as if there were no memory for it.
        let _ = timeout(job.config.wait, self.restore(&job.target.key(), stored)).await;
        lookup::decide(self, job, came)
    }

    /// Has the body as it came made anew from a copy, if there is memory for it.
    async fn restore(self: &Arc<Self>, key: &CacheKey, stored: &Arc<StoredResponse>) {
        let Ok(place) = Arc::clone(&self.decoders).acquire_owned().await else { return };
        if let Some(work) = work::Decoding::new(self, key, stored) {
            let decoding = self.background.spawn_blocking(move || {
                work.run();
                drop(place);
            });
            // A panic there leaves things as they are.
            let _ = decoding.await;
        }
    }
}

/// Answers a request for the body as it came, which is to be decoded first. Where that can't be
/// done, the origin is asked past the cache.
pub(super) async fn decode_first<S: Origin>(
    cache: Cache<S>,
    mut job: Job,
    stored: Arc<StoredResponse>,
    place: Place,
) -> Result<Response, ProxyError> {
    let came = cache.shared.clock.now();
    match cache.shared.decoded(&job, &stored, came).await {
        Decision::Use(stored, grant) => {
            job.settle(&stored.head);
            Ok(cache.serve(&stored, grant, &job, cache.shared.clock.now()))
        }
        Decision::Forward(plan) => {
            if let Some(failed) = cache.shared.spared(&job, &plan, came) {
                return cache.spare(&job, &plan, failed);
            }
            let now = cache.shared.clock.now();
            cache.forward(job, plan, now, place).await
        }
        Decision::Decode(_) if job.directives().only_if_cached => {
            Err(ErrorKind::OnlyIfCached.into())
        }
        Decision::Decode(_) => {
            let interims = job.request.open_interims();
            cache.alone(job, Plan::bypass(Reason::OverBudget), interims, place).await
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::body::Blocks;
    use crate::clock::Clock;
    use crate::key::Target;
    use crate::limit::Limit;
    use crate::policy::{Overrides, RequestFacts, ResponseTimes};
    use crate::store::{self, Memory, Stamp};

    fn stored(shared: &Shared, key: &CacheKey) -> Arc<StoredResponse> {
        let (fields, now) = (HeaderMap::new(), shared.clock.now());
        let facts = RequestFacts::new(&Method::GET, &fields, false);
        let times = ResponseTimes { request_at: now, response_at: now };
        let head = StoredHead::new(&facts, StatusCode::OK, &fields, times, &Overrides::default());
        let body = Blocks::new([Bytes::from(vec![b'x'; 5000])], None);
        let content = Content::Whole(Arc::new(body));
        let useless_at = now.plus(std::time::Duration::from_secs(60));
        let sealed = shared.seal(key, head, content, Stamp::new(0, None), useless_at);
        let sealed = sealed.expect("there is memory");
        let _ = shared.memory.insert(key, &sealed, now);
        sealed
    }

    async fn settled(shared: &Shared) {
        shared.background.close();
        shared.background.wait().await;
        shared.background.reopen();
    }

    #[tokio::test]
    async fn while_the_compressors_are_busy_nothing_is_queued() {
        let memory = Memory::new(&store::Config::default());
        let background = TaskTracker::new();
        let shared = Arc::new(Shared::new(memory, Clock::System, background, Limit::new(9)));
        let key = Target::parse("http://h/").expect("a URL").key();
        let first = stored(&shared, &key);
        let compression = Compression::default();
        let make = || shared.make_copy(|| key.clone(), &first, Coding::Gzip, &compression);
        let of_today = || {
            let variants = shared.memory.peek(key.as_str()).expect("it is stored");
            variants.as_slice().first().cloned().expect("never none")
        };
        let all = u32::try_from(compressors()).expect("few");
        let busy = shared.compressors.try_acquire_many(all).expect("they are idle");
        make();
        settled(&shared).await;
        assert!(!first.copies.is_begun(Coding::Gzip) && of_today().copies.made().is_empty());
        drop(busy);
        make();
        settled(&shared).await;
        let second = of_today();
        assert!(second.copies.get(Coding::Gzip).is_some());
        assert!(matches!(second.content, Content::Coded));
        assert_eq!(shared.compressing(), 0);
        // What is made of what was replaced meanwhile belongs to what took its place.
        shared.make_copy(|| key.clone(), &first, Coding::Br, &compression);
        settled(&shared).await;
        assert_eq!(of_today().copies.made().len(), 2);
        // What is stored anew is something else.
        let other = stored(&shared, &key);
        shared.make_copy(|| key.clone(), &second, Coding::Zstd, &compression);
        settled(&shared).await;
        assert!(Arc::ptr_eq(&of_today(), &other));
        assert!(!second.copies.is_begun(Coding::Zstd), "it may be tried again");
    }
}
