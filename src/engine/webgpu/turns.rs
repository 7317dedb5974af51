//! What the graphs of a device share: they take turns, and keep the pipelines used last.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

use futures_channel::oneshot;

/// One graph runs at a time: error scopes are a stack, and what one of two interleaved runs did wrong would be the other's.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
}

/// A turn; dropped, it is the next one's.
pub struct Turn(Rc<Turns>);

impl Turns {
    pub async fn take(self: &Rc<Turns>) -> Turn {
        while self.taken.replace(true) {
            let (sender, receiver) = oneshot::channel();
            self.waiting.borrow_mut().push(sender);
            // Whether it was told or not: it looks again.
            let _ = receiver.await;
        }
        Turn(self.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.set(false);
        // All, since one that has gone away would not pass it on.
        for waiting in self.0.waiting.take() {
            let _ = waiting.send(());
        }
    }
}

/// When texts were used last.
#[derive(Default)]
pub struct Ages {
    now: u64,
    /// By hash: two texts of one hash are of one age.
    last: HashMap<u64, u64>,
}

fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

impl Ages {
    pub fn used(&mut self, text: &str) {
        self.now += 1;
        self.last.insert(hash(text), self.now);
    }

    /// Drops from `kept` what was used longest ago, until there are `most` of them.
    pub fn trim<T>(&mut self, kept: &mut HashMap<String, T>, most: usize) {
        let Some(surplus) = kept.len().checked_sub(most).filter(|surplus| *surplus > 0) else { return };
        let age = |text: &String| self.last.get(&hash(text)).copied().unwrap_or(0);
        let mut ages: Vec<u64> = kept.keys().map(age).collect();
        ages.sort_unstable();
        let newest_gone = ages[surplus - 1];
        kept.retain(|text, _| age(text) > newest_gone);
        self.last.retain(|_, age| *age > newest_gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes() {
        let mut ages = Ages::default();
        let mut kept: HashMap<String, ()> = HashMap::new();
        for text in ["a", "b", "c", "a", "d"] {
            ages.used(text);
            kept.insert(text.to_string(), ());
        }
        ages.trim(&mut kept, 4);
        assert_eq!(kept.len(), 4);
        ages.trim(&mut kept, 2);
        let mut left: Vec<&String> = kept.keys().collect();
        left.sort();
        assert_eq!(left, ["a", "d"]);
        assert_eq!(ages.last.len(), 2, "nor is anything else remembered");
    }

    #[test]
    fn turns_are_taken_one_after_the_other() {
        let turns = Rc::new(Turns::default());
        let first = pollster::block_on(turns.take());
        let second = std::pin::pin!(turns.take());
        let mut second = Box::pin(second);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(second.as_mut().poll(&mut context).is_ready());
    }
}
