//! What [`super::preflight`] says of the hooks beyond the transitions: they are loaded to try, not attached.

use finwait_core::observation::TimeWaitSource;

use super::{
    call_sites::CallSites,
    hooks::{self, HookName, LoadedHooks, TimeWaitChoice},
    load::LoadedTpBtf,
    preflight::{Check, no, ok},
    reset_reasons::ResetReasons,
};

const TIME_WAIT: &str = "time-wait";
const RESETS: &str = "resets";
const RETRANSMITS: &str = "retransmits";
const ACCEPTS: &str = "accepts";

const WITHOUT_RESETS: &str =
    "who reset a connection is then told by its socket's error alone, where that proves it";
const WITHOUT_RETRANSMITS: &str = "a close that took long for loss is then told by counters alone";
const WITHOUT_ACCEPTS: &str =
    "who accepted a connection is then unknown; `finwait stuck` finds who holds one by /proc";
const SWEEP: &str = "repeated dumps stand in, to a second";
const TIMER: &str =
    "--time-wait timer shows moments and reasons, at some 100 ns for every timer operation of the host";

/// One row for each hook; `loaded` is prime and its shadows, or why they are not to be had.
pub(super) fn checks(loaded: Result<&mut LoadedTpBtf, &str>) -> Vec<Check> {
    let Ok(loaded) = loaded else {
        let row = |name, without| no(name, "goes with the tp_btf tier only".to_owned(), without);
        return vec![
            row(TIME_WAIT, SWEEP),
            row(RESETS, WITHOUT_RESETS),
            row(RETRANSMITS, WITHOUT_RETRANSMITS),
            row(ACCEPTS, WITHOUT_ACCEPTS),
        ];
    };
    // Auto is never an error.
    let tried = hooks::load(loaded, TimeWaitChoice::Auto).unwrap_or_default();
    vec![
        time_wait(&tried, loaded),
        resets(&tried, loaded),
        row(
            &tried,
            RETRANSMITS,
            HookName::Retransmits,
            "of closing connections, with their cause",
            WITHOUT_RETRANSMITS,
        ),
        row(&tried, ACCEPTS, HookName::Accepts, "fentry", WITHOUT_ACCEPTS),
    ]
}

fn row(tried: &LoadedHooks, name: &'static str, hook: HookName, found: &str, without: &str) -> Check {
    match refusal(tried, hook) {
        None => ok(name, found.to_owned()),
        Some(reason) => no(name, reason.to_owned(), without),
    }
}

fn refusal(tried: &LoadedHooks, hook: HookName) -> Option<&str> {
    tried.refusals.iter().find(|refusal| refusal.hook == hook).map(|refusal| refusal.reason.as_str())
}

fn resets(tried: &LoadedHooks, loaded: &LoadedTpBtf) -> Check {
    let hooks = tried.hooks;
    let reason = refusal(tried, HookName::ResetsSent).or_else(|| refusal(tried, HookName::ResetsReceived));
    if let Some(reason) = reason {
        let seen = match (hooks.resets_sent, hooks.resets_received) {
            (true, _) => "only those sent: ",
            (_, true) => "only those received: ",
            _ => "",
        };
        return no(RESETS, format!("{seen}{reason}"), WITHOUT_RESETS);
    }
    if hooks.reset_reasons {
        let known = ResetReasons::of(&loaded.btf).known();
        return ok(RESETS, format!("reasons by name ({known} known)"));
    }
    ok(RESETS, "sent and received, without reasons: this kernel gives none (6.10 and later do)".to_owned())
}

fn time_wait(tried: &LoadedHooks, loaded: &mut LoadedTpBtf) -> Check {
    if tried.hooks.time_wait == TimeWaitSource::Fentry {
        return ok(
            TIME_WAIT,
            match CallSites::read() {
                Ok(_) => "fentry".to_owned(),
                Err(error) => format!("fentry, without the place from which one is ended early: {error}"),
            },
        );
    }
    let reason = refusal(tried, HookName::TimeWait).unwrap_or("fentry was not tried");
    let detail = format!("{reason}; {SWEEP}");
    let timer = hooks::timers_load(loaded).and_then(|()| match CallSites::read() {
        Ok(sites) => sites.handler().map(drop).ok_or_else(|| "no tw_timer_handler".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    match timer {
        Ok(()) => no(TIME_WAIT, detail, TIMER),
        Err(reason) => no(TIME_WAIT, detail, &format!("--time-wait timer is not to be had either: {reason}")),
    }
}
