//! What is demanded of a result: `hit>=85%,byte_hit>=70%,origin_rps_peak<=200`.

/// Demands, all of which have to be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget(Vec<Demand>);

#[derive(Clone, Debug, PartialEq)]
struct Demand {
    metric: String,
    comparison: Comparison,
    bound: f64,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// A demand that was not met.
#[derive(Clone, Debug, PartialEq)]
pub struct Missed {
    /// As it was written.
    pub demand: String,
    /// What there is instead; `None` where it is not known.
    pub is: Option<f64>,
}

/// Why demands can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Not of the form.
    #[error("`{0}` is not of the form NAME>=NUMBER, like hit>=85%")]
    Form(String),
    /// No such figure.
    #[error("there is no `{0}`; there are: {1}")]
    Metric(String, String),
    /// A share that is none.
    #[error("`{0}` is of a share, from 0 to 1: write 85% or 0.85")]
    Share(String),
}

impl Budget {
    /// What can be demanded of.
    pub const METRICS: [&str; 9] = [
        "hit",
        "byte_hit",
        "fresh",
        "stale",
        "uncacheable",
        "origin",
        "origin_rps_mean",
        "origin_rps_peak",
        "resident_bytes_max",
    ];

    /// From demands with commas between them. A number may be a percentage.
    ///
    /// # Errors
    /// [`BudgetError`] for what is not understood.
    pub fn parse(text: &str) -> Result<Self, BudgetError> {
        let demands = text.split(',').map(str::trim).filter(|demand| !demand.is_empty());
        let demands: Vec<_> = demands.map(Demand::parse).collect::<Result<_, _>>()?;
        if demands.is_empty() {
            return Err(BudgetError::Form(text.to_owned()));
        }
        Ok(Self(demands))
    }

    /// What is not met, by the figure of each name.
    #[must_use]
    pub fn missed(&self, figure: impl Fn(&str) -> Option<f64>) -> Vec<Missed> {
        let missed = |demand: &Demand| {
            let is = figure(&demand.metric);
            let is_met = is.is_some_and(|is| demand.is_met(is));
            (!is_met).then(|| Missed { demand: demand.text.clone(), is })
        };
        self.0.iter().filter_map(missed).collect()
    }
}

impl Demand {
    fn parse(text: &str) -> Result<Self, BudgetError> {
        let form = || BudgetError::Form(text.to_owned());
        let comparisons = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let split = |(sign, comparison): (&str, Comparison)| {
            let (metric, bound) = text.split_once(sign)?;
            Some((metric.trim(), comparison, bound.trim()))
        };
        let (metric, comparison, bound) =
            comparisons.into_iter().find_map(split).ok_or_else(form)?;
        let metric = metric.trim_end_matches("_ratio").to_owned();
        if !Budget::METRICS.contains(&metric.as_str()) {
            return Err(BudgetError::Metric(metric, Budget::METRICS.join(", ")));
        }
        let (number, scale) = match bound.strip_suffix('%') {
            Some(percent) => (percent.trim(), 0.01),
            None => (bound, 1.0),
        };
        let number: f64 = number.parse().map_err(|_| form())?;
        if !number.is_finite() {
            return Err(form());
        }
        let bound = number * scale;
        // `hit>=85` could never be met, and `stale<=5` always would be.
        if is_share(&metric) && !(0.0..=1.0).contains(&bound) {
            return Err(BudgetError::Share(text.to_owned()));
        }
        Ok(Self { metric, comparison, bound, text: text.to_owned() })
    }

    fn is_met(&self, is: f64) -> bool {
        match self.comparison {
            Comparison::AtLeast => is >= self.bound,
            Comparison::AtMost => is <= self.bound,
            Comparison::Above => is > self.bound,
            Comparison::Below => is < self.bound,
        }
    }
}

/// Whether a figure is a share of all requests or bytes; the others are counts.
fn is_share(metric: &str) -> bool {
    !matches!(metric, "origin_rps_mean" | "origin_rps_peak" | "resident_bytes_max")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_met_or_not() {
        let budget = Budget::parse("hit>=85%, byte_hit_ratio > 0.5,origin_rps_peak<=200").unwrap();
        let figure = |hit, byte_hit, peak| {
            move |name: &str| match name {
                "hit" => Some(hit),
                "byte_hit" => Some(byte_hit),
                "origin_rps_peak" => peak,
                _ => None,
            }
        };
        assert_eq!(budget.missed(figure(0.85, 0.51, Some(200.0))), []);
        let missed = budget.missed(figure(0.84, 0.5, None));
        let demands: Vec<_> = missed.iter().map(|missed| missed.demand.as_str()).collect();
        assert_eq!(demands, ["hit>=85%", "byte_hit_ratio > 0.5", "origin_rps_peak<=200"]);
        assert_eq!((missed[0].is, missed[2].is), (Some(0.84), None));
    }

    #[test]
    fn what_is_no_demand() {
        for text in ["", "hit", "hit=5", "hits>=5", "hit>=x", "hit>=inf"] {
            assert!(Budget::parse(text).is_err(), "{text}");
        }
        for text in ["hit>=85", "stale<=1.5", "byte_hit>=120%", "fresh>=-1%"] {
            assert_eq!(Budget::parse(text), Err(BudgetError::Share(text.to_owned())));
        }
        for text in ["hit>=0.85", "hit<=100%", "origin_rps_mean<=85", "resident_bytes_max<=1e9"] {
            assert!(Budget::parse(text).is_ok(), "{text}");
        }
    }
}
