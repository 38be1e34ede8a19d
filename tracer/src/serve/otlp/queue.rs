//! Requests that wait for the collector. When there is no room, the oldest go: later ones say more.

use std::collections::VecDeque;

/// What a queue may hold. The newest request is kept whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Requests
    pub requests: usize,
    /// Bytes of all of them
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { requests: 64, bytes: 32 << 20 }
    }
}

/// Encoded requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    bounds: QueueBounds,
}

impl Queue {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Adds a request. Returns how many old ones had to go.
    pub(super) fn push(&mut self, request: Vec<u8>) -> u64 {
        self.bytes += request.len();
        self.waiting.push_back(request);
        let mut dropped = 0;
        while self.waiting.len() > 1
            && (self.waiting.len() > self.bounds.requests || self.bytes > self.bounds.bytes)
        {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    /// The oldest.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.waiting.front().map(Vec::as_slice)
    }

    /// Forgets the oldest.
    pub(super) fn pop(&mut self) {
        if let Some(request) = self.waiting.pop_front() {
            self.bytes -= request.len();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bounds: QueueBounds, requests: &[&[u8]]) -> (Vec<Vec<u8>>, u64) {
        let mut queue = Queue::new(bounds);
        let dropped = requests.iter().map(|request| queue.push(request.to_vec())).sum();
        assert_eq!(queue.bytes, queue.waiting.iter().map(Vec::len).sum::<usize>());
        (queue.waiting.into(), dropped)
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let bounds = QueueBounds { requests: 2, bytes: 100 };
        assert_eq!(kept(bounds, &[b"a", b"b", b"c"]), (vec![b"b".to_vec(), b"c".to_vec()], 1));
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large_and_the_newest_stays_in_any_case() {
        let bounds = QueueBounds { requests: 10, bytes: 3 };
        assert_eq!(kept(bounds, &[b"a", b"b", b"cc"]), (vec![b"b".to_vec(), b"cc".to_vec()], 1));
        assert_eq!(kept(bounds, &[b"a", b"b", b"too large"]), (vec![b"too large".to_vec()], 2));
    }
}
