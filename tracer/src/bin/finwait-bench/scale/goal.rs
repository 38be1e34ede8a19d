//! What was measured beside what it may be.

/// Bytes.
pub(super) const MIB: f64 = 1_048_576.0;

/// A figure, and the bound that it has to keep, where it has one.
#[derive(Debug)]
pub(super) struct Goal {
    what: String,
    measured: f64,
    below: Option<f64>,
    unit: &'static str,
}

impl Goal {
    /// It has to be less than `bound`.
    pub(super) fn below(what: &str, measured: f64, bound: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), measured, below: Some(bound), unit }
    }

    /// It is only told.
    pub(super) fn told(what: &str, measured: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), measured, below: None, unit }
    }

    fn kept(&self) -> bool {
        self.below.is_none_or(|bound| self.measured < bound)
    }
}

/// Prints the table; whether every goal is kept.
pub(super) fn print(goals: &[Goal]) -> bool {
    println!();
    for goal in goals {
        let verdict = match (goal.below, goal.kept()) {
            (None, _) => String::new(),
            (Some(bound), true) => format!("below {bound}: kept"),
            (Some(bound), false) => format!("below {bound}: MISSED"),
        };
        println!("{:56} {:9.2} {:12} {verdict}", goal.what, goal.measured, goal.unit);
    }
    goals.iter().all(Goal::kept)
}
