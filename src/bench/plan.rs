//! From the command line to what is run.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::Duration;

use fastrand::Rng;
use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use seawall::shutdown::Shutdown;

use super::drive::{Bound, Driver, Gauges, Width};
use super::exchange::Manner;
use super::metric::{Budget, BudgetError, Side};
use super::origin::{Manners, Origin};
use super::pace::{Feed, Pace};
use super::summary::Run;
use super::target::{Target, TargetError, Trust, Version};
use super::workload::{Asks, List, Notes, Sizes, Synthetic, Trace, WorkloadError, Zipf};
use crate::cli::{Bench, Http, Warmup};

/// What is done where nothing else ends a run.
const USUAL_TIME: Duration = Duration::from_secs(10);
const USUAL_OBJECTS: u32 = 10_000;
const USUAL_EXPONENT: f64 = 0.9;
const USUAL_SIZE: Sizes = Sizes::Fixed(16 * 1024);

/// Why nothing can be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error(transparent)]
    Budget(#[from] BudgetError),
    #[error("--size: {0}")]
    Size(String),
    #[error("`{0}` is not a host")]
    Host(String),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("cannot listen on {at} for the origin: {cause}")]
    Origin { at: std::net::SocketAddr, cause: io::Error },
    #[error("{failure}: {cause}")]
    Unreachable { failure: String, cause: String },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl PlanError {
    /// Whether the command line names what can't be used.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Workload(_)
                | Self::Budget(_)
                | Self::Size(_)
                | Self::Host(_)
                | Self::Target(TargetError::Tls(_) | TargetError::Name(_))
        )
    }
}

/// All that a run needs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) driver: Arc<Driver>,
    pub(super) warmup: Option<Bound>,
    pub(super) bound: Bound,
    pub(super) origin: Option<Origin>,
    pub(super) notes: Notes,
    pub(super) budgets: Vec<Budget>,
    pub(super) run: Run,
}

/// A workload that was read.
struct Workload {
    asks: Asks,
    /// What it is, for reports.
    name: String,
    /// After how many requests it has been played once.
    once: Option<u64>,
    /// Whether it ends by itself.
    ends: bool,
}

impl Plan {
    /// Reads files, resolves names, starts the origin, and makes a first connection, to see whether
    /// anybody is there and which HTTP is spoken.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(super) fn new(bench: &Bench, stop: Shutdown) -> Result<Self, PlanError> {
        let budgets = budgets(bench)?;
        let sizes = match &bench.size {
            Some(text) => text.parse().map_err(PlanError::Size)?,
            None => USUAL_SIZE,
        };
        let (fields, authority) = fields(bench)?;
        let notes = Notes::default();
        let workload = workload(bench, sizes, &notes)?;
        let (pace, pace_name) = pace(bench);
        let name = workload.name.clone();
        let bound = bound(bench, &workload);

        let wanted = bench.http.map(|http| match http {
            Http::One => Version::Http1,
            Http::Two => Version::Http2,
        });
        let trust = Trust { ca: bench.ca.clone(), insecure: bench.insecure };
        let target = Target::new(&bench.url.origin, wanted, &trust)?;
        let origin = bench.with_origin.map(|at| {
            let manners = Manners {
                cache_control: bench.origin_cache_control.clone(),
                latency: bench.origin_latency,
                size: sizes.most(),
                most: bench.max_body,
            };
            Origin::start(at, manners).map_err(|cause| PlanError::Origin { at, cause })
        });
        let origin = origin.transpose()?;
        let version = knock(&target, bench.timeout)?;

        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let width = Width {
            threads: bench.threads.map_or(cores, usize::from),
            connections: bench.connections as usize,
            streams: bench.streams as usize,
        };
        let transport = transport(bench, version, width);
        let scheme = if bench.url.origin.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let manner = Manner {
            scheme,
            authority,
            fields,
            tells_origin: origin.is_some(),
            max_body: bench.max_body,
        };
        let driver = Driver {
            target: Arc::new(target),
            version,
            manner,
            width,
            timeout: bench.timeout,
            feed: Mutex::new(Feed::new(workload.asks, pace)),
            gauges: Arc::new(Gauges::default()),
            stop,
        };
        let warmup = bench.warmup.map(|warmup| match warmup {
            Warmup::Requests(requests) => Bound { requests: Some(requests), time: None },
            Warmup::Time(time) => Bound { requests: None, time: Some(time) },
        });
        let run = Run { url: bench.url.text.clone(), workload: name, pace: pace_name, transport };
        Ok(Self { driver: Arc::new(driver), warmup, bound, origin, notes, budgets, run })
    }
}

fn budgets(bench: &Bench) -> Result<Vec<Budget>, BudgetError> {
    let has_origin = bench.with_origin.is_some();
    let under = bench.fail_under.iter().map(|text| (text, Side::NotUnder));
    let over = bench.fail_over.iter().map(|text| (text, Side::NotOver));
    under.chain(over).map(|(text, side)| Budget::read(text, side, has_origin)).collect()
}

/// Fields of every request, and the host that they ask for.
fn fields(bench: &Bench) -> Result<(HeaderMap, Authority), PlanError> {
    let mut fields = HeaderMap::new();
    let mut authority = bench.url.authority.clone();
    for (name, value) in &bench.header {
        if name == HOST {
            let text = String::from_utf8_lossy(value.as_bytes());
            authority = text.parse().map_err(|_| PlanError::Host(text.into_owned()))?;
        } else {
            fields.append(name, value.clone());
        }
    }
    Ok((fields, authority))
}

fn workload(bench: &Bench, sizes: Sizes, notes: &Notes) -> Result<Workload, WorkloadError> {
    let (base, seed) = (&bench.url.base, bench.seed);
    let random = Rng::with_seed(seed);
    if let Some(file) = &bench.trace {
        let trace = Trace::open(file, base, notes.clone())?;
        let name = format!("the trace {}", file.display());
        return Ok(Workload { asks: Box::new(trace), name, once: None, ends: true });
    }
    if let Some(file) = &bench.urls {
        let list = List::read(file, base, sizes, seed)?;
        let (count, file) = (list.len(), file.display());
        let once = Some(count as u64);
        return Ok(match bench.zipf {
            None => {
                let name = format!("{count} URLs of {file} in order");
                Workload { asks: Box::new(list), name, once, ends: false }
            }
            Some(exponent) => {
                let name = format!("{count} URLs of {file}, Zipf {exponent}");
                let asks = Box::new(list.drawn(exponent, random));
                Workload { asks, name, once: None, ends: false }
            }
        });
    }
    let count = bench.objects.unwrap_or(USUAL_OBJECTS);
    let exponent = bench.zipf.unwrap_or(USUAL_EXPONENT);
    let churn = bench.churn.unwrap_or_default();
    let fading = if churn > 0.0 {
        format!(", {:.1} % of requests for new ones", churn * 100.0)
    } else {
        String::new()
    };
    let synthetic = Synthetic {
        base: base.clone(),
        ranks: Zipf::new(count as usize, exponent),
        sizes,
        churn,
        seed,
        random,
        newest: 0,
    };
    let name = format!("{count} made-up objects, Zipf {exponent}{fading}");
    Ok(Workload { asks: Box::new(synthetic), name, once: None, ends: false })
}

fn pace(bench: &Bench) -> (Pace, String) {
    match (bench.rate, bench.speed) {
        (Some(rate), _) => (Pace::Rate(rate), format!("{rate} requests a second (open loop)")),
        (None, Some(speed)) => {
            (Pace::Recorded(speed), format!("the trace's times, {speed} times as fast (open loop)"))
        }
        (None, None) => (Pace::Closed, "as fast as answers come (closed loop)".to_owned()),
    }
}

/// What ends a run: what was said, else the workload itself, else the usual time.
fn bound(bench: &Bench, workload: &Workload) -> Bound {
    match (bench.requests, bench.duration) {
        (None, None) if workload.ends => Bound::default(),
        (None, None) if workload.once.is_some() => Bound { requests: workload.once, time: None },
        (None, None) => Bound { requests: None, time: Some(USUAL_TIME) },
        (requests, time) => Bound { requests, time },
    }
}

/// A first connection: whether anybody is there, and which HTTP is spoken.
fn knock(target: &Target, patience: Duration) -> Result<Version, PlanError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connected =
        runtime.block_on(async { tokio::time::timeout(patience, target.connect()).await });
    match connected {
        Ok(Ok(sender)) => Ok(sender.version()),
        Ok(Err((failure, cause))) => {
            Err(PlanError::Unreachable { failure: failure.to_string(), cause })
        }
        Err(_) => Err(PlanError::Unreachable {
            failure: "no connection could be made".to_owned(),
            cause: format!("nothing came in {}", humantime::format_duration(patience)),
        }),
    }
}

fn transport(bench: &Bench, version: Version, width: Width) -> String {
    let tls = if bench.url.origin.tls { " over TLS" } else { "" };
    let connections = width.connections;
    match version {
        Version::Http1 => format!("{connections} connections, HTTP/1.1{tls}"),
        Version::Http2 => {
            format!("{connections} connections of {} streams, HTTP/2{tls}", width.streams)
        }
    }
}
