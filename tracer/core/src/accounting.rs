//! The books: every event is received, or announced as missing.

/// Totals since the start. `None` is "this kernel or tier cannot count it".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Transitions received, duplicates dropped
    pub received: u64,
    /// Records of the shadow program that repeated one of the main program
    pub duplicates: u64,
    /// Records that found no room in the ring
    pub lost_ring: u64,
    /// Transitions that the main program was skipped for
    pub recursion_missed: Option<u64>,
    /// Those of them that its shadow reported, received or not
    pub rescued: Option<u64>,
    /// Sequence numbers missing between received records
    pub gaps: u64,
    /// Transitions whose old state was not the last new one of their socket
    pub chain_breaks: u64,
    /// Connections put out of the full table before their end
    pub evicted: u64,
    /// Records that could not be read
    pub decode_errors: u64,
    /// Transitions counted in the kernel before the ring
    pub counted: u64,
    /// Events of the hooks beyond the transitions that were seen and could not be reported
    pub hooks_lost: u64,
}

impl Accounting {
    /// Transitions that happened and were not received, as far as the kernel counts them. A repetition by the shadow that
    /// was itself lost stands on both sides: it counts as lost in the ring and as rescued.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let missed = self.recursion_missed.unwrap_or(0);
        self.lost_ring.saturating_add(missed).saturating_sub(self.rescued.unwrap_or(0))
    }

    /// Transitions that neither program reported; `None` where the kernel cannot count them.
    #[must_use]
    pub fn unrescued(&self) -> Option<u64> {
        Some(self.recursion_missed?.saturating_sub(self.rescued?))
    }
}
