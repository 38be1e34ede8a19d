//! Loading and attaching the hooks beyond the transitions. Each is optional: what the kernel refuses is left out, with its
//! reason, and the transitions are seen all the same.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Ebpf,
    programs::{BtfTracePoint, FEntry, ProgramError},
};
use finwait_core::observation::{Hooks, Program, TimeWaitSource};
use tracer_common::{Field, feature};

use super::{btf::Btf, load::Link, load::LoadedTpBtf, object, offsets::Layout};

/// How time-wait sockets are to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeWaitChoice {
    /// By fentry; where that is refused, by dumps
    #[default]
    Auto,
    /// By fentry or not at all
    Fentry,
    /// By the timer tracepoints, which every timer of the host then pays for, or not at all
    Timer,
    /// By repeated dumps of the sockets: no hook is attached
    Sweep,
    /// Not
    Off,
}

/// A hook that is not in force although it was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRefusal {
    /// What it would have shown
    pub hook: HookName,
    /// Why not, one clause
    pub reason: String,
}

/// What a hook shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookName {
    /// Resets that are sent
    ResetsSent,
    /// Resets that are received
    ResetsReceived,
    /// Retransmissions of closing sockets
    Retransmits,
    /// Who accepts
    Accepts,
    /// Time-wait sockets
    TimeWait,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Tracepoint(&'static str),
    Function(&'static str),
}

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hook {
    name: &'static str,
    place: Place,
}

const fn tracepoint(name: &'static str, tracepoint: &'static str) -> Hook {
    Hook { name, place: Place::Tracepoint(tracepoint) }
}

const fn function(name: &'static str, function: &'static str) -> Hook {
    Hook { name, place: Place::Function(function) }
}

/// Programs that are of use together, and the fields without which they would say something false.
struct Group {
    programs: &'static [Hook],
    fields: &'static [Field],
}

const RESETS_SENT: Group =
    Group { programs: &[tracepoint("send_reset", "tcp_send_reset")], fields: &[Field::State] };
const RESETS_RECEIVED: Group =
    Group { programs: &[tracepoint("receive_reset", "tcp_receive_reset")], fields: &[Field::State] };
const RETRANSMITS: Group = Group {
    programs: &[tracepoint("retransmit", "tcp_retransmit_skb")],
    fields: &[Field::State, Field::Pending, Field::SegmentControl, Field::SegmentFlags],
};
const ACCEPTS: Group = Group { programs: &[function("accept", "security_sock_graft")], fields: &[] };
const TIME_WAIT_FENTRY: Group = Group {
    programs: &[
        function("time_wait_ask", "tcp_time_wait"),
        function("time_wait_arm", "__inet_twsk_schedule"),
        function("time_wait_kill", "inet_twsk_kill"),
    ],
    fields: &[Field::TwSubstate, Field::TwExpires, Field::TwFunction],
};
const TIME_WAIT_TIMER: Group = Group {
    programs: &[
        tracepoint("timer_start", "timer_start"),
        tracepoint("timer_cancel", "timer_cancel"),
        tracepoint("timer_expire", "timer_expire_entry"),
    ],
    fields: &[Field::TwSubstate, Field::TwExpires, Field::TwTimer, Field::TimerFunction, Field::NetnsInum],
};

/// The program behind a record's number.
pub(super) fn program_of(raw: u8) -> Option<Program> {
    use tracer_common::{
        PROGRAM_ACCEPT, PROGRAM_RECEIVE_RESET, PROGRAM_RETRANSMIT, PROGRAM_SEND_RESET, PROGRAM_TIME_WAIT_ARM,
        PROGRAM_TIME_WAIT_ASK, PROGRAM_TIME_WAIT_KILL, PROGRAM_TIMER_CANCEL, PROGRAM_TIMER_EXPIRE,
        PROGRAM_TIMER_START,
    };
    match raw {
        PROGRAM_SEND_RESET => Some(Program::SendReset),
        PROGRAM_RECEIVE_RESET => Some(Program::ReceiveReset),
        PROGRAM_RETRANSMIT => Some(Program::Retransmit),
        PROGRAM_ACCEPT => Some(Program::Accept),
        PROGRAM_TIME_WAIT_ASK => Some(Program::TimeWaitAsk),
        PROGRAM_TIME_WAIT_ARM => Some(Program::TimeWaitArm),
        PROGRAM_TIME_WAIT_KILL => Some(Program::TimeWaitKill),
        PROGRAM_TIMER_START => Some(Program::TimerStart),
        PROGRAM_TIMER_CANCEL => Some(Program::TimerCancel),
        PROGRAM_TIMER_EXPIRE => Some(Program::TimerExpire),
        _ => None,
    }
}

/// A group whose programs are loaded.
struct LoadedGroup {
    hook: HookName,
    programs: &'static [Hook],
    /// Asked for by name: to go on without it would not be what was asked
    required: bool,
}

/// Hooks that are loaded into the kernel.
#[derive(Default)]
pub(super) struct LoadedHooks {
    pub(super) hooks: Hooks,
    pub(super) refusals: Vec<HookRefusal>,
    groups: Vec<LoadedGroup>,
}

/// Hooks that are attached.
#[derive(Default)]
pub(super) struct AttachedHooks {
    pub(super) hooks: Hooks,
    pub(super) refusals: Vec<HookRefusal>,
    /// Names of their programs
    pub(super) names: Vec<&'static str>,
    /// Their entries in fdinfo, opened while we may
    pub(super) infos: Vec<File>,
    pub(super) links: Vec<Link>,
}

/// Loads what `choice` asks for and the kernel lets through.
///
/// # Errors
/// The reason, where fentry or the timers were asked for and are refused.
pub(super) fn load(loaded: &mut LoadedTpBtf, choice: TimeWaitChoice) -> Result<LoadedHooks, String> {
    let mut of = LoadedHooks::default();
    of.hooks.resets_sent = of.try_load(loaded, HookName::ResetsSent, &RESETS_SENT);
    of.hooks.reset_reasons = of.hooks.resets_sent && loaded.layout.features & feature::RESET_REASON != 0;
    of.hooks.resets_received = of.try_load(loaded, HookName::ResetsReceived, &RESETS_RECEIVED);
    of.hooks.retransmits = of.try_load(loaded, HookName::Retransmits, &RETRANSMITS);
    of.hooks.accepts = of.try_load(loaded, HookName::Accepts, &ACCEPTS);
    of.hooks.time_wait = match choice {
        TimeWaitChoice::Auto if of.try_load(loaded, HookName::TimeWait, &TIME_WAIT_FENTRY) => {
            TimeWaitSource::Fentry
        }
        TimeWaitChoice::Fentry => {
            of.load_group(loaded, HookName::TimeWait, &TIME_WAIT_FENTRY, true)?;
            TimeWaitSource::Fentry
        }
        TimeWaitChoice::Timer => {
            of.load_group(loaded, HookName::TimeWait, &TIME_WAIT_TIMER, true)?;
            TimeWaitSource::Timer
        }
        TimeWaitChoice::Auto | TimeWaitChoice::Sweep => TimeWaitSource::Sweep,
        TimeWaitChoice::Off => TimeWaitSource::Off,
    };
    Ok(of)
}

/// Whether the timer programs would load.
pub(super) fn timers_load(loaded: &mut LoadedTpBtf) -> Result<(), String> {
    LoadedHooks::default().load_group(loaded, HookName::TimeWait, &TIME_WAIT_TIMER, true)
}

/// The hooks in force in the classic tier: none, but dumps need no program.
///
/// # Errors
/// The reason, where fentry or the timers were asked for.
pub(super) fn without_programs(choice: TimeWaitChoice) -> Result<AttachedHooks, String> {
    let time_wait = match choice {
        TimeWaitChoice::Fentry | TimeWaitChoice::Timer => {
            return Err("the classic tier has no hooks beside its tracepoint".to_owned());
        }
        TimeWaitChoice::Auto | TimeWaitChoice::Sweep => TimeWaitSource::Sweep,
        TimeWaitChoice::Off => TimeWaitSource::Off,
    };
    Ok(AttachedHooks { hooks: Hooks { time_wait, ..Hooks::default() }, ..AttachedHooks::default() })
}

impl LoadedHooks {
    /// Whether all of `group` are loaded; if not, none is, and the reason is kept.
    fn try_load(&mut self, loaded: &mut LoadedTpBtf, hook: HookName, group: &Group) -> bool {
        let outcome = self.load_group(loaded, hook, group, false);
        let is_loaded = outcome.is_ok();
        self.refusals.extend(outcome.err().map(|reason| HookRefusal { hook, reason }));
        is_loaded
    }

    fn load_group(
        &mut self,
        loaded: &mut LoadedTpBtf,
        hook: HookName,
        group: &Group,
        required: bool,
    ) -> Result<(), String> {
        let absent = missing(&loaded.layout, group.fields);
        if !absent.is_empty() {
            return Err(format!("the kernel's types lack {}", absent.join(", ")));
        }
        for (index, program) in group.programs.iter().enumerate() {
            if let Err(reason) = load_one(loaded, *program) {
                unload(&mut loaded.object, &group.programs[..index]);
                return Err(reason);
            }
        }
        self.groups.push(LoadedGroup { hook, programs: group.programs, required });
        Ok(())
    }

    /// Attaches all that is loaded.
    ///
    /// # Errors
    /// The reason, where what was asked for by name is refused now.
    pub(super) fn attach(self, object: &mut Ebpf) -> Result<AttachedHooks, String> {
        let Self { hooks, refusals, groups } = self;
        let mut attached = AttachedHooks { hooks, refusals, ..AttachedHooks::default() };
        for group in groups {
            match attach_group(object, group.programs) {
                Ok(programs) => {
                    for (link, info) in programs {
                        attached.links.push(link);
                        attached.infos.extend(info);
                    }
                    attached.names.extend(group.programs.iter().map(|program| program.name));
                }
                Err(reason) if group.required => return Err(reason),
                Err(reason) => {
                    unload(object, group.programs);
                    attached.hooks = without(attached.hooks, group.hook);
                    attached.refusals.push(HookRefusal { hook: group.hook, reason });
                }
            }
        }
        Ok(attached)
    }
}

/// Attaches all of them or, on an error, none.
fn attach_group(object: &mut Ebpf, programs: &[Hook]) -> Result<Vec<(Link, Option<File>)>, String> {
    let refused = |program: &Hook, error: &ProgramError| {
        format!("attaching {} was refused: {}", program.name, object::say(error))
    };
    programs.iter().map(|hook| attach_one(object, *hook).map_err(|error| refused(hook, &error))).collect()
}

/// `hooks` without `hook`.
fn without(mut hooks: Hooks, hook: HookName) -> Hooks {
    match hook {
        HookName::ResetsSent => (hooks.resets_sent, hooks.reset_reasons) = (false, false),
        HookName::ResetsReceived => hooks.resets_received = false,
        HookName::Retransmits => hooks.retransmits = false,
        HookName::Accepts => hooks.accepts = false,
        HookName::TimeWait => hooks.time_wait = TimeWaitSource::Sweep,
    }
    hooks
}

fn missing(layout: &Layout, fields: &[Field]) -> Vec<&'static str> {
    fields.iter().filter(|field| !layout.has(**field)).map(|field| field.path()).collect()
}

fn load_one(loaded: &mut LoadedTpBtf, hook: Hook) -> Result<(), String> {
    exists(&loaded.btf, hook.place)?;
    let result = match hook.place {
        Place::Tracepoint(tracepoint) => object::tp_btf(&mut loaded.object, hook.name)
            .and_then(|program| program.load(tracepoint, &loaded.kernel)),
        Place::Function(function) => {
            fentry(&mut loaded.object, hook.name).and_then(|program| program.load(function, &loaded.kernel))
        }
    };
    result.map_err(|error| match hook.place {
        Place::Tracepoint(name) => format!("{name}: {}", object::say(&error)),
        Place::Function(name) => format!("fentry on {name}: {}", object::say(&error)),
    })
}

fn exists(btf: &Btf, place: Place) -> Result<(), String> {
    match place {
        Place::Tracepoint(name) if btf.tracepoint_arguments(name).is_none() => {
            Err(format!("the kernel has no tracepoint {name}"))
        }
        Place::Function(name) if !btf.has_function(name) => Err(format!("the kernel has no function {name}")),
        Place::Tracepoint(_) | Place::Function(_) => Ok(()),
    }
}

fn unload(object: &mut Ebpf, hooks: &[Hook]) {
    for hook in hooks {
        // Of what was loaded a moment ago; if it fails, an idle program stays until the end.
        let _ = match hook.place {
            Place::Tracepoint(_) => object::tp_btf(object, hook.name).and_then(BtfTracePoint::unload),
            Place::Function(_) => fentry(object, hook.name).and_then(FEntry::unload),
        };
    }
}

fn attach_one(object: &mut Ebpf, hook: Hook) -> Result<(Link, Option<File>), ProgramError> {
    match hook.place {
        Place::Tracepoint(_) => {
            let program = object::tp_btf(object, hook.name)?;
            let id = program.attach()?;
            let link: Link = Box::new(program.take_link(id)?);
            Ok((link, info(program.fd()?)))
        }
        Place::Function(_) => {
            let program = fentry(object, hook.name)?;
            let id = program.attach()?;
            let link: Link = Box::new(program.take_link(id)?);
            Ok((link, info(program.fd()?)))
        }
    }
}

fn info(program: &impl AsFd) -> Option<File> {
    File::open(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd())).ok()
}

fn fentry<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut FEntry, ProgramError> {
    object.program_mut(name).ok_or_else(|| object::missing(name))?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_a_program_of_its_own() {
        let groups =
            [&RESETS_SENT, &RESETS_RECEIVED, &RETRANSMITS, &ACCEPTS, &TIME_WAIT_FENTRY, &TIME_WAIT_TIMER];
        let mut names: Vec<_> =
            groups.iter().flat_map(|group| group.programs).map(|hook| hook.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), tracer_common::HOOK_PROGRAMS);
        let numbered = (0..=u8::MAX).filter_map(program_of).count();
        assert_eq!(numbered, tracer_common::HOOK_PROGRAMS);
    }

    #[test]
    fn the_classic_tier_has_no_hooks_but_dumps() {
        let sweep = without_programs(TimeWaitChoice::Auto).ok().map(|attached| attached.hooks);
        assert_eq!(sweep, Some(Hooks { time_wait: TimeWaitSource::Sweep, ..Hooks::default() }));
        assert!(without_programs(TimeWaitChoice::Timer).is_err());
        assert!(without_programs(TimeWaitChoice::Fentry).is_err());
    }
}
