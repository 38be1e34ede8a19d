//! What was measured beside what it may be.

/// Bytes.
pub(crate) const MIB: f64 = 1_048_576.0;

/// A figure, and the bound that it has to keep, where it has one.
#[derive(Debug)]
pub(crate) struct Goal {
    what: String,
    measured: f64,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    None,
    Below(f64),
    AtLeast(f64),
}

impl Goal {
    /// It has to be less than `bound`.
    pub(crate) fn below(what: &str, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), measured, bound: Bound::Below(bound), unit }
    }

    /// It has to be `bound` or more.
    pub(crate) fn at_least(what: &str, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), measured, bound: Bound::AtLeast(bound), unit }
    }

    /// It is only told.
    pub(crate) fn told(what: &str, measured: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), measured, bound: Bound::None, unit }
    }

    fn kept(&self) -> bool {
        match self.bound {
            Bound::None => true,
            Bound::Below(bound) => self.measured < bound,
            Bound::AtLeast(bound) => self.measured >= bound,
        }
    }
}

/// Prints the table; whether every goal is kept.
pub(crate) fn print(goals: &[Goal]) -> bool {
    println!();
    for goal in goals {
        let kept = if goal.kept() { "kept" } else { "MISSED" };
        let verdict = match goal.bound {
            Bound::None => String::new(),
            Bound::Below(bound) => format!("below {bound}: {kept}"),
            Bound::AtLeast(bound) => format!("at least {bound}: {kept}"),
        };
        println!("{:56} {:9.2} {:12} {verdict}", goal.what, goal.measured, goal.unit);
    }
    goals.iter().all(Goal::kept)
}
