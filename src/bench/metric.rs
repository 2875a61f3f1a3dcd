//! What budgets are about: the figures of a report by name. Pure.

use std::fmt;
use std::time::Duration;

use seawall::config;

use super::summary::{Summary, milliseconds};
use super::verdict::Verdict;

/// A figure of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// Of answers, those from the store, as the cache says.
    HitRatio,
    /// Of their bytes.
    ByteHitRatio,
    /// Of answers, those that cost the origin no request, as the cache says.
    SavedRatio,
    /// Of requests, those that did not come through to the origin, as it counted.
    OriginHitRatio,
    /// Of bytes.
    OriginByteHitRatio,
    /// Of requests, those without a whole answer or with a 5xx.
    ErrorRatio,
    /// Answers a second.
    Rate,
    /// Requests that came through to the origin.
    OriginRequests,
    /// A latency, of all answers or those of one kind.
    Latency(Option<Verdict>, Quantile),
}

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantile {
    /// What this many of a hundred do not exceed.
    Percentile(f64),
    /// The mean.
    Mean,
    /// The longest.
    Most,
}

/// Names without a parameter.
const NAMED: [(&str, Metric); 8] = [
    ("hit_ratio", Metric::HitRatio),
    ("byte_hit_ratio", Metric::ByteHitRatio),
    ("saved_ratio", Metric::SavedRatio),
    ("origin_hit_ratio", Metric::OriginHitRatio),
    ("origin_byte_hit_ratio", Metric::OriginByteHitRatio),
    ("error_ratio", Metric::ErrorRatio),
    ("rps", Metric::Rate),
    ("origin_requests", Metric::OriginRequests),
];

impl Metric {
    /// By its name: one of a list, or `p99`, `mean`, `max`, `miss.p99.9`.
    pub(super) fn named(name: &str) -> Option<Self> {
        // `hit` is short for `hit_ratio`, as `seawall replay` has it.
        let is_name = |known: &str| known == name || known.strip_suffix("_ratio") == Some(name);
        if let Some((_, metric)) = NAMED.iter().find(|(known, _)| is_name(known)) {
            return Some(*metric);
        }
        let (verdict, rest) = match name.split_once('.') {
            Some((word, rest)) if !word.starts_with('p') => {
                let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.word() == word)?;
                (Some(verdict), rest)
            }
            _ => (None, name),
        };
        let quantile = match rest {
            "mean" => Quantile::Mean,
            "max" => Quantile::Most,
            _ => {
                let percent: f64 = rest.strip_prefix('p')?.parse().ok()?;
                Quantile::Percentile(Some(percent).filter(|it| (0.0..=100.0).contains(it))?)
            }
        };
        Some(Self::Latency(verdict, quantile))
    }

    /// All names, for who wrote another one.
    pub(super) fn names() -> String {
        let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
        format!("{}, p50 to p99.99, mean, max, or hit.p99 and the like", names.join(", "))
    }

    /// Reads a value in this metric's unit; its number is in shares of one, milliseconds, or as
    /// counted.
    pub(super) fn value(self, text: &str) -> Result<f64, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<f64>().ok();
            number.filter(|number| number.is_finite() && *number >= 0.0)
        };
        match self {
            Self::Latency(..) => {
                let duration = config::duration(text).map_err(|error| error.to_string())?;
                Ok(milliseconds(duration))
            }
            Self::Rate | Self::OriginRequests => {
                number(text).ok_or_else(|| format!("`{text}` is not a number"))
            }
            _ => {
                let share = match text.strip_suffix('%') {
                    Some(percent) => number(percent).map(|percent| percent / 100.0),
                    None => number(text),
                };
                let share = share.filter(|share| *share <= 1.0);
                share.ok_or_else(|| format!("`{text}` is not a share; write 80% or 0.8"))
            }
        }
    }

    /// Its value in a report, in the same unit; `None` where nothing was measured.
    pub(super) fn of(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::HitRatio => summary.hit_ratio,
            Self::ByteHitRatio => summary.byte_hit_ratio,
            Self::SavedRatio => summary.saved_ratio,
            Self::OriginHitRatio => summary.origin.as_ref()?.hit_ratio,
            Self::OriginByteHitRatio => summary.origin.as_ref()?.byte_hit_ratio,
            Self::ErrorRatio => summary.error_ratio,
            Self::Rate => Some(summary.requests_per_second),
            Self::OriginRequests => summary.origin.as_ref().map(|origin| origin.requests as f64),
            Self::Latency(verdict, quantile) => {
                let latencies = summary.latencies(verdict)?;
                let duration = match quantile {
                    Quantile::Percentile(percent) => latencies.quantile(percent / 100.0),
                    Quantile::Mean => latencies.mean(),
                    Quantile::Most => latencies.most(),
                };
                duration.map(milliseconds)
            }
        }
    }

    /// A value as people read it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Latency(..) => show_time(Duration::from_secs_f64(value / 1e3)),
            Self::Rate => format!("{value:.0} a second"),
            Self::OriginRequests => format!("{value:.0}"),
            _ => format!("{:.2} %", value * 100.0),
        }
    }
}

/// Three digits or so, in the unit that fits.
pub(super) fn show_time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = if seconds < 1e-3 {
        (seconds * 1e6, "µs")
    } else if seconds < 1.0 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    let digits =
        if value < 10.0 && unit != "µs" { 2 } else { usize::from(value < 100.0 && unit != "µs") };
    format!("{value:.digits$} {unit}")
}

/// On which side of its bound a figure has to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// At least.
    NotUnder,
    /// At most.
    NotOver,
}

/// A bound on a figure: beyond it, the run has failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Budget {
    name: String,
    metric: Metric,
    side: Side,
    bound: f64,
}

/// Why a text is no budget.
#[derive(Debug, thiserror::Error)]
pub(super) enum BudgetError {
    /// It has neither `>=` nor `<=`.
    #[error("`{0}` is not a budget; write it like hit>=80% or p99<=50ms")]
    Form(String),
    /// No figure has the name.
    #[error("there is no figure called `{0}`; there are {all}", all = Metric::names())]
    Name(String),
    /// The value is not of that figure's kind.
    #[error("the budget for {name}: {why}")]
    Value {
        /// The figure.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Only the bench's own origin can tell.
    #[error("a budget for {0} needs --with-origin: nobody else counts what gets through")]
    NoOrigin(String),
}

impl Budget {
    /// Reads budgets with commas between them, as `seawall replay` has them.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub(super) fn read_all(text: &str, has_origin: bool) -> Result<Vec<Self>, BudgetError> {
        text.split(',').map(|text| Self::read(text, has_origin)).collect()
    }

    /// Reads `name>=value` or `name<=value`.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub(super) fn read(text: &str, has_origin: bool) -> Result<Self, BudgetError> {
        let least = text.split_once(">=").map(|parts| (parts, Side::NotUnder));
        let most = || text.split_once("<=").map(|parts| (parts, Side::NotOver));
        let form = || BudgetError::Form(text.trim().to_owned());
        let ((name, value), side) = least.or_else(most).ok_or_else(form)?;
        let (name, value) = (name.trim().to_owned(), value.trim());
        let metric = Metric::named(&name).ok_or_else(|| BudgetError::Name(name.clone()))?;
        if !has_origin && name.starts_with("origin_") {
            return Err(BudgetError::NoOrigin(name));
        }
        let bound = metric.value(value);
        let bound = bound.map_err(|why| BudgetError::Value { name: name.clone(), why })?;
        Ok(Self { name, metric, side, bound })
    }

    /// What a run makes of it.
    pub(super) fn check(&self, summary: &Summary) -> Checked {
        let value = self.metric.of(summary);
        let met = value.is_some_and(|value| match self.side {
            Side::NotUnder => value >= self.bound,
            Side::NotOver => value <= self.bound,
        });
        Checked { budget: self.clone(), value, met }
    }
}

/// A budget, after a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    pub(super) budget: Budget,
    /// `None` where nothing of the kind was measured: then it is not met.
    pub(super) value: Option<f64>,
    pub(super) met: bool,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { name, metric, side, bound } = &self.budget;
        let bound = metric.show(*bound);
        let Some(value) = self.value.map(|value| metric.show(value)) else {
            return write!(f, "{name} was not measured, and should be {bound}");
        };
        match (self.met, side) {
            (true, Side::NotUnder) => write!(f, "{name} is {value}, not under {bound}"),
            (true, Side::NotOver) => write!(f, "{name} is {value}, not over {bound}"),
            (false, Side::NotUnder) => write!(f, "{name} is {value}, under {bound}"),
            (false, Side::NotOver) => write!(f, "{name} is {value}, over {bound}"),
        }
    }
}

impl Budget {
    /// For JSON: the figure's name, whether the bound is a least or a most, and the bound.
    pub(super) fn parts(&self) -> (&str, Side, f64) {
        (&self.name, self.side, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::summary;

    #[test]
    fn figures_have_names() {
        for (name, metric) in NAMED {
            assert_eq!(Metric::named(name), Some(metric));
        }
        assert_eq!(Metric::named("hit"), Some(Metric::HitRatio));
        let p = |percent| Quantile::Percentile(percent);
        for (name, verdict, quantile) in [
            ("p50", None, p(50.0)),
            ("p99.9", None, p(99.9)),
            ("p99.99", None, p(99.99)),
            ("mean", None, Quantile::Mean),
            ("hit.p99", Some(Verdict::Hit), p(99.0)),
            ("miss.p99.9", Some(Verdict::Miss), p(99.9)),
            ("collapsed.max", Some(Verdict::Collapsed), Quantile::Most),
        ] {
            assert_eq!(Metric::named(name), Some(Metric::Latency(verdict, quantile)), "{name}");
        }
        for name in ["", "p", "p101", "p-1", "pNaN", "hit.", "none.p50", "hits", "_ratio"] {
            assert_eq!(Metric::named(name), None, "{name}");
        }
    }

    #[test]
    fn budgets_are_met_or_not() {
        // 80 % hits, 10 % of requests through to the origin, hits 1 ms, misses 100 ms.
        let summary = summary();
        for (text, met) in [
            ("hit_ratio>=80%", true),
            ("hit_ratio>=0.81", false),
            ("hit_ratio<=80%", true),
            ("saved_ratio>=90%", true),
            ("origin_hit_ratio>=90%", true),
            ("origin_requests<=9", false),
            ("error_ratio<=0", true),
            ("p50<=2ms", true),
            ("max<=50ms", false),
            ("miss.p99<=101ms", true),
            ("stale.p99<=1h", false),
            ("rps>=10", true),
        ] {
            let checked = Budget::read(text, true).unwrap().check(&summary);
            assert_eq!(checked.met, met, "{text}: {checked}");
        }
        let text = |text| Budget::read(text, true).unwrap().check(&summary).to_string();
        assert_eq!(text("max<=50ms"), "max is 100 ms, over 50.0 ms");
        assert_eq!(text("stale.max<=1s"), "stale.max was not measured, and should be 1.00 s");
    }

    #[test]
    fn a_bad_budget_says_what_is_wrong() {
        let error = |text| Budget::read_all(text, false).unwrap_err().to_string();
        assert!(error("hit_ratio=5").contains("hit>=80%"));
        assert!(error("hits>=1").contains("byte_hit_ratio"));
        assert!(error("hit_ratio>=80").contains("80%"));
        assert!(error("hit_ratio>=many").contains("not a share"));
        assert!(error("p99>=50").contains("50ms"));
        assert!(error("rps>=NaN").contains("not a number"));
        assert!(error("origin_requests>=1").contains("--with-origin"));
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        for (micros, shown) in [
            (87, "87 µs"),
            (1_234, "1.23 ms"),
            (12_345, "12.3 ms"),
            (123_456, "123 ms"),
            (1_500_000, "1.50 s"),
        ] {
            assert_eq!(show_time(Duration::from_micros(micros)), shown);
        }
    }
}
