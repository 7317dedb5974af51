//! Threads for the CPU engine: workers of the page, over one shared memory.
//!
//! The standard library cannot start threads in a browser, so the page starts workers with the same module and memory
//! (`www/wasm-module.js`), each of which waits in [`run_thread`] for its place in the pool.

use std::sync::{Condvar, Mutex, PoisonError};

use rayon::{ThreadBuilder, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;

use crate::engine::cpu;

/// Places in the pool that no thread has taken yet.
static PLACES: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());
static OFFERED: Condvar = Condvar::new();

/// Makes a pool of `count` threads for the CPU engine: the calling one and `count - 1` that are in [`run_thread`] or come there.
///
/// # Errors
/// If there is such a pool already.
#[wasm_bindgen(js_name = startThreads)]
pub fn start_threads(count: usize) -> Result<(), JsError> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(count)
        .use_current_thread()
        .spawn_handler(|place| {
            PLACES.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            OFFERED.notify_one();
            Ok(())
        })
        .build()?;
    cpu::share_threads(pool).map_err(|_| JsError::new("the CPU engine has its threads already"))
}

/// Lends the calling thread to the pool, for good.
#[wasm_bindgen(js_name = runThread)]
pub fn run_thread() {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut places = OFFERED.wait_while(places, |places| places.is_empty()).unwrap_or_else(PoisonError::into_inner);
    let place = places.pop();
    // The next one in line takes its place while this one works.
    drop(places);
    if let Some(place) = place {
        place.run();
    }
}
