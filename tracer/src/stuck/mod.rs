//! Sockets that stay in a closing state.
