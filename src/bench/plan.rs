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
use super::metric::{Budget, BudgetError};
use super::origin::{Manners, Origin};
use super::pace::{Feed, Pace};
use super::summary::Run;
use super::target::{Target, TargetError, Trust, Version};
use super::workload::{Asks, List, Log, Notes, Sending, Sizes, Synthetic, WorkloadError, Zipf};
use crate::cli::{Bench, Http, Latency, Warmup};
use crate::{complain, logs, units};

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
    notes: Notes,
    /// What it is, for reports.
    name: String,
    /// After how many requests it has been played once.
    once: Option<u64>,
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
        let workload = workload(bench, sizes, &authority)?;
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
                latency: match bench.origin_latency {
                    Latency::Fixed(latency) => latency,
                    Latency::Logged => Duration::ZERO,
                },
                size: sizes.most(),
                most: bench.max_body,
            };
            Origin::start(at, manners).map_err(|cause| PlanError::Origin { at, cause })
        });
        let origin = origin.transpose()?;
        if let (Some(origin), Some(0)) = (&origin, bench.with_origin.map(|at| at.port())) {
            complain(format_args!("the origin listens on {}", origin.address()));
        }
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
        Ok(Self {
            driver: Arc::new(driver),
            warmup,
            bound,
            origin,
            notes: workload.notes,
            budgets,
            run,
        })
    }
}

fn budgets(bench: &Bench) -> Result<Vec<Budget>, BudgetError> {
    let budget =
        bench.budget.as_deref().map(|it| Budget::read_all(it, bench.with_origin.is_some()));
    budget.unwrap_or(Ok(Vec::new()))
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

fn workload(bench: &Bench, sizes: Sizes, host: &Authority) -> Result<Workload, WorkloadError> {
    if !bench.logs.log.is_empty() {
        return log(bench, host);
    }
    let (base, seed) = (&bench.url.base, bench.seed);
    let random = Rng::with_seed(seed);
    let endless = |asks: Asks, name: String, once: Option<u64>| Workload {
        asks,
        notes: Notes::default(),
        name,
        once,
    };
    if let Some(file) = &bench.urls {
        let list = List::read(file, base, sizes, seed)?;
        let (count, file) = (list.len(), file.display());
        return Ok(match bench.zipf {
            None => {
                let name = format!("{count} URLs of {file} in order");
                endless(Box::new(list), name, Some(count as u64))
            }
            Some(exponent) => {
                let name = format!("{count} URLs of {file}, Zipf {exponent}");
                endless(Box::new(list.drawn(exponent, random)), name, None)
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
    Ok(endless(Box::new(synthetic), name, None))
}

/// What logs say.
fn log(bench: &Bench, host: &Authority) -> Result<Workload, WorkloadError> {
    let (trace, reading) = logs::read(&bench.logs, &format!("http://{host}"), true)?;
    let files: Vec<_> = bench.logs.log.iter().map(|file| file.display().to_string()).collect();
    let count = trace.requests.len() as u64;
    let (requests, urls) = (units::count(count), units::count(trace.urls() as u64));
    let name = format!("{requests} requests for {urls} URLs of {}", files.join(", "));
    let sending = Sending {
        base: bench.url.base.clone(),
        authority: host.clone(),
        has_origin: bench.with_origin.is_some(),
        any_method: bench.all_methods,
        takes_its_time: bench.origin_latency == Latency::Logged,
    };
    let notes = Notes::of(&reading);
    let asks = Box::new(Log::new(trace, sending, notes.clone()));
    Ok(Workload { asks, notes, name, once: Some(count) })
}

fn pace(bench: &Bench) -> (Pace, String) {
    match (bench.rate, bench.speed) {
        (Some(rate), _) => (Pace::Rate(rate), format!("{rate} requests a second (open loop)")),
        (None, Some(speed)) => {
            (Pace::Recorded(speed), format!("the log's times, {speed} times as fast (open loop)"))
        }
        (None, None) => (Pace::Closed, "as fast as answers come (closed loop)".to_owned()),
    }
}

/// What ends a run: what was said, else the workload itself, else the usual time.
fn bound(bench: &Bench, workload: &Workload) -> Bound {
    match (bench.requests, bench.duration) {
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
