//! Flow control of one connection (virtio 1.2, section 5.10.6.3)
//!
//! All counters run freely and wrap at 2^32, as those on the wire do.

/// Bytes in both directions.
#[derive(Debug)]
pub(super) struct Credit {
    /// What we let the guest send ahead.
    buffer_bytes: u32,
    received: u32,
    forwarded: u32,
    forwarded_announced: u32,
    guest_buffer_bytes: u32,
    guest_forwarded: u32,
    sent: u32,
}

impl Credit {
    pub(super) fn new(buffer_bytes: u32) -> Self {
        Self {
            buffer_bytes,
            received: 0,
            forwarded: 0,
            forwarded_announced: 0,
            guest_buffer_bytes: 0,
            guest_forwarded: 0,
            sent: 0,
        }
    }

    /// Takes in what every packet of the guest announces.
    pub(super) fn announced_by_guest(&mut self, buffer_bytes: u32, forwarded: u32) {
        self.guest_buffer_bytes = buffer_bytes;
        self.guest_forwarded = forwarded;
    }

    /// Bytes that the guest can take. However large a buffer it claims, nothing is queued for it here: data stays in
    /// the host's socket until there is a receive buffer of the guest to read it into.
    pub(super) fn guest_space(&self) -> u32 {
        self.guest_buffer_bytes.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded))
    }

    pub(super) fn sent(&mut self, bytes: u32) {
        self.sent = self.sent.wrapping_add(bytes);
    }

    /// Accounts for data of the guest; false if it exceeds what we granted.
    pub(super) fn receive(&mut self, bytes: u32) -> bool {
        let held = self.received.wrapping_sub(self.forwarded);
        if bytes > self.buffer_bytes.saturating_sub(held) {
            return false;
        }
        self.received = self.received.wrapping_add(bytes);
        true
    }

    /// Accounts for data that has left our buffer.
    pub(super) fn forward(&mut self, bytes: u32) {
        self.forwarded = self.forwarded.wrapping_add(bytes);
    }

    /// Whether the guest should be told of freed space, before it has used up what it knows of.
    pub(super) fn update_is_due(&self) -> bool {
        let known = self.buffer_bytes.saturating_sub(self.received.wrapping_sub(self.forwarded_announced));
        self.forwarded != self.forwarded_announced && known < self.buffer_bytes / 2
    }

    /// The two counters of a packet to the guest, which thereby knows them.
    pub(super) fn announce(&mut self) -> (u32, u32) {
        self.forwarded_announced = self.forwarded;
        (self.buffer_bytes, self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_was_not_granted() {
        let mut credit = Credit::new(100);
        assert!(credit.receive(60));
        assert!(!credit.receive(41));
        credit.forward(60);
        assert!(credit.receive(100));
    }

    #[test]
    fn announces_when_half_is_used() {
        let mut credit = Credit::new(100);
        assert!(credit.receive(40));
        credit.forward(40);
        assert!(!credit.update_is_due());
        assert!(credit.receive(20));
        assert!(credit.update_is_due());
        assert_eq!(credit.announce(), (100, 40));
        assert!(!credit.update_is_due());
    }

    #[test]
    fn wraps_and_survives_lies() {
        let mut credit = Credit::new(100);
        credit.announced_by_guest(1000, 0);
        credit.sent(u32::MAX);
        assert_eq!(credit.guest_space(), 0);
        credit.announced_by_guest(1000, u32::MAX);
        credit.sent(10);
        assert_eq!(credit.guest_space(), 990);
        credit.announced_by_guest(u32::MAX, 5_000_000);
        assert!(credit.guest_space() < u32::MAX);
    }
}
