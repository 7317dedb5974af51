//! What a mistake of the module's own leaves behind: the browser says "unreachable" alone.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
}

/// Writes panics, with their place in the code, to the browser's console. Runs when the module starts, in each thread.
/// (Where memory runs out nothing panics: the module stops at once.)
#[wasm_bindgen(start)]
pub fn tell_of_panics() {
    std::panic::set_hook(Box::new(|info| error(&info.to_string())));
}
