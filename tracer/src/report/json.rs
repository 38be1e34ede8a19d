//! `finwait.report/1`
