//! TCP states by the kernel's spelling in recordings.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use tracer_common::TcpState;

pub(super) fn serialize<S: Serializer>(state: &TcpState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TcpState, D::Error> {
    let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    TcpState::from_name(&name).ok_or_else(|| D::Error::custom(format!("no TCP state is called {name:?}")))
}
