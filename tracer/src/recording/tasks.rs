//! Tasks as a payload has them: each once in a frame, then by its place.

use finwait_core::Pid;
use finwait_core::observation::{Comm, Task};

use super::layout::TASKS;
use super::wire::{Fault, Input, Read, optional, yes, yes_or_no};

/// Tasks of a frame.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    places: Vec<Task>,
    filled: usize,
}

impl Tasks {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.filled = 0;
    }

    /// The next one, or none.
    pub(super) fn read(&mut self, input: &mut Input<'_>, into: &mut Option<Task>) -> Read<()> {
        let code: usize = input.small(&Fault::Bad("a task"))?;
        if code == 0 {
            *into = None;
        } else if code == 1 {
            let task = task(input)?;
            self.add(task);
            *into = Some(task);
        } else {
            let known = self.places.get(code - 2).ok_or(&Fault::Bad("a task"))?;
            *into = Some(*known);
        }
        Ok(())
    }

    fn add(&mut self, task: Task) {
        let index = self.filled % TASKS;
        self.filled += 1;
        match self.places.get_mut(index) {
            Some(old) => *old = task,
            None => self.places.push(task),
        }
    }
}

fn task(input: &mut Input<'_>) -> Read<Task> {
    Ok(Task {
        tgid: Pid(input.small(&Fault::Bad("a process"))?),
        pid: Pid(input.small(&Fault::Bad("a thread"))?),
        comm: comm(input)?,
        start_boot_ns: optional(input)?,
        kthread: yes_or_no(input)?,
        exiting: yes_or_no(input)?,
        exit_signal: if yes(input)? { Some(input.byte()?) } else { None },
    })
}

fn comm(input: &mut Input<'_>) -> Read<Comm> {
    let length = input.byte()?.into();
    let mut raw = [0; 16];
    let place = raw.get_mut(..length).ok_or(&Fault::Bad("a task's name"))?;
    place.copy_from_slice(input.slice(length)?);
    Ok(Comm::from_kernel(raw))
}
