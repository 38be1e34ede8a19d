//! Traffic of known shape: connections made on the loopback of a network namespace of their own, together with
//! what must be seen of them. `finwait demo`, the live tests and the benches all use it.
//!
//! * [`Namespace`]: two threads in a fresh network namespace; it ends with them and their sockets, however they end
//! * [`catalog`]: the scenarios; each returns the [`Made`] it produced
//! * [`stage`]: the moves they are made of; [`sides`]: what the usual ones make true
//! * [`check`]: compares what was reported with what was made
//! * [`watch`]: probe and tracker around the traffic

mod actor;
pub mod catalog;
pub mod check;
mod closes;
mod error;
mod interface;
mod made;
mod namespace;
mod opens;
mod procnet;
mod resets;
pub mod sides;
pub mod stage;
pub mod watch;

pub use actor::{Actor, Pending};
pub use catalog::Scenario;
pub use error::{Context, Result, ScenarioError};
pub use made::{Fact, Made, MadeConnection, MadeListener, MadeReset, MadeSide, SideName};
pub use namespace::{Namespace, enter_new};
pub use procnet::Row;
