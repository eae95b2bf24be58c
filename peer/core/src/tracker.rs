//! The id of a tracker: its index in the list that the application configured.

/// Names a tracker by its index in the application's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(usize);

impl TrackerId {
    /// The tracker at this index, counted from 0.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The index in the list, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}
