//! What the numbers of `enum sk_rst_reason` mean in the running kernel: they shift between versions.

use finwait_core::observation::ReasonName;

use super::btf::Btf;

const ENUM: &str = "sk_rst_reason";
const PREFIX: &str = "SK_RST_REASON_";
/// Marks the end of the enumeration, is no reason.
const LAST: &str = "MAX";

/// Reasons by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetReasons(Vec<(u32, ReasonName)>);

impl ResetReasons {
    /// Those that the kernel's types name; none before 6.10.
    #[must_use]
    pub fn of(btf: &Btf) -> Self {
        let named = btf.enumerators(ENUM).unwrap_or_default();
        let reasons = named.into_iter().filter_map(|(name, number)| {
            let name = name.strip_prefix(PREFIX).filter(|name| *name != LAST)?;
            Some((u32::try_from(number).ok()?, ReasonName::new(name)))
        });
        Self(reasons.collect())
    }

    /// How many are known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.0.len()
    }

    /// The name of `number`.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<ReasonName> {
        self.0.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernels_reasons_have_names_if_it_has_any() {
        let Ok(btf) = Btf::from_kernel() else { return };
        let reasons = ResetReasons::of(&btf);
        let Some(number) = btf.enumerator(ENUM, "SK_RST_REASON_TCP_STATE") else {
            assert_eq!(reasons.name(u32::MAX), None);
            return;
        };
        assert_eq!(reasons.name(u32::try_from(number).unwrap()), Some(ReasonName::new("TCP_STATE")));
        assert_eq!(reasons.name(1 << 20), None);
        assert!(reasons.0.iter().all(|(_, name)| name.as_str() != LAST));
    }
}
