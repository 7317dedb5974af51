//! What a `bundle.json` may say.

use super::{Bundle, BundleError, FORMAT, MAX_FILE_BYTES, MAX_QUERIES};

/// Which numbers a bundle's field, or the option that starts from it, may have. None of them includes infinity or NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 to 1.
    Unit,
    /// -1 to 1.
    Cosine,
    Any,
    /// Above 0.
    Positive,
}

impl Range {
    pub(crate) fn holds(self, value: f32) -> bool {
        value.is_finite()
            && match self {
                Range::Unit => (0.0..=1.0).contains(&value),
                Range::Cosine => (-1.0..=1.0).contains(&value),
                Range::Any => true,
                Range::Positive => value > 0.0,
            }
    }

    /// How an error message goes on after the value's name.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Range::Unit => "must be 0 to 1",
            Range::Cosine => "must be -1 to 1",
            Range::Any => "must be a finite number",
            Range::Positive => "must be a positive number",
        }
    }
}

impl Bundle {
    /// Whether every value is one that the pipeline can work with, and every file that is used is listed.
    pub(super) fn validate(&self) -> Result<(), BundleError> {
        let field = |ok: bool, field: &'static str, reason: &str| {
            if ok {
                return Ok(());
            }
            Err(BundleError::Field { field, reason: reason.to_string() })
        };
        field(
            self.format == FORMAT,
            "format",
            "this version reads format 1 only; use a newer page or export the model again",
        )?;
        let within = |value: usize, most: usize| (1..=most).contains(&value);
        field(within(self.embedding, 8192), "embedding", "must be 1 to 8192")?;
        field(within(self.pixels.stride, 256), "pixels.stride", "must be 1 to 256")?;
        let numbers = |values: &[f32], range: Range, name: &'static str| {
            field(values.iter().all(|&value| range.holds(value)), name, range.rule())
        };
        numbers(&self.pixels.mean, Range::Any, "pixels.mean")?;
        numbers(&self.pixels.std, Range::Positive, "pixels.std")?;
        field(
            self.pixels.resolutions.contains_key(&self.pixels.default),
            "pixels.default",
            "must name one of the resolutions",
        )?;
        field(
            self.pixels
                .resolutions
                .values()
                .all(|r| within(r.short, 4096) && within(r.long, 8192) && r.short <= r.long),
            "pixels.resolutions",
            "need 1 <= short <= long <= 8192",
        )?;
        field(within(self.segmenter.queries, MAX_QUERIES), "segmenter.queries", "must be 1 to 1024")?;
        field(
            within(self.segmenter.mask_stride, self.pixels.stride)
                && self.pixels.stride.is_multiple_of(self.segmenter.mask_stride),
            "segmenter.mask_stride",
            "must divide pixels.stride",
        )?;
        if let Some(position) = &self.segmenter.position {
            field(
                within(position.channels, 4096) && position.channels % 4 == 0,
                "segmenter.position.channels",
                "must be a multiple of 4 up to 4096",
            )?;
            field(
                within(position.stride, self.pixels.stride) && self.pixels.stride.is_multiple_of(position.stride),
                "segmenter.position.stride",
                "must divide pixels.stride",
            )?;
            numbers(&[position.temperature], Range::Positive, "segmenter.position.temperature")?;
        }
        field(within(self.image.crop, 1024), "image.crop", "must be 1 to 1024")?;
        field(within(self.image.batch, 256), "image.batch", "must be 1 to 256")?;
        let grid = self.image.one_pass.as_ref().map_or(1, |one_pass| one_pass.grid);
        field(
            within(grid, self.image.crop.min(256)),
            "image.one_pass.grid",
            "must be 1 to 256 and at most image.crop",
        )?;
        field(self.modes().contains(&self.mode), "mode", "one-pass needs image.one_pass")?;
        numbers(&self.image.mean, Range::Any, "image.mean")?;
        numbers(&self.image.std, Range::Positive, "image.std")?;
        field((2..=4096).contains(&self.text.context), "text.context", "must be 2 to 4096")?;
        field(within(self.text.width, 8192), "text.width", "must be 1 to 8192")?;
        field(self.text.position.rows >= self.text.context, "text.position.rows", "must be at least text.context")?;
        for (list, name) in [(&self.templates.query, "templates.query"), (&self.templates.image, "templates.image")] {
            field(
                !list.is_empty() && list.iter().all(|template| template.contains("{}")),
                name,
                "needs at least one template, each with {} for the name",
            )?;
        }
        numbers(&[self.classify.lambda], Range::Unit, "classify.lambda")?;
        numbers(&[self.classify.gamma], Range::Any, "classify.gamma")?;
        numbers(&[self.classify.margin], Range::Any, "classify.margin")?;
        numbers(&[self.classify.temperature], Range::Positive, "classify.temperature")?;
        if let Some(other) = &self.other {
            numbers(&[other.threshold], Range::Unit, "other.threshold")?;
            numbers(&[other.near], Range::Cosine, "other.near")?;
        }
        if let Some(vocabulary) = &self.vocabulary {
            field(
                vocabulary.head.is_none_or(|head| (0.0..=10.0).contains(&head)),
                "vocabulary.head",
                "must be 0 to 10",
            )?;
            numbers(&[vocabulary.unseen_kinds], Range::Unit, "vocabulary.unseen_kinds")?;
        }
        for (name, entry) in &self.files {
            field(plain_name(name), "files", "names must be plain file names without folders")?;
            field(entry.bytes <= MAX_FILE_BYTES, "files", "no file may be over 256 MiB")?;
        }
        for name in self.named_files() {
            if !self.files.contains_key(name) {
                return Err(BundleError::Unlisted(name.to_string()));
            }
        }
        Ok(())
    }

    fn named_files(&self) -> Vec<&str> {
        let mut names = vec![
            self.segmenter.graph.as_str(),
            &self.image.graph,
            &self.text.graph,
            &self.text.tokenizer,
            &self.text.table.file,
            &self.text.position.file,
        ];
        names.extend(self.image.one_pass.as_ref().map(|one_pass| one_pass.graph.as_str()));
        if let Some(vocabulary) = &self.vocabulary {
            names.extend([vocabulary.names.as_str(), &vocabulary.query]);
            names.extend(vocabulary.image.as_deref());
        }
        names
    }
}

/// Whether `name` is a bare file name: it cannot leave the bundle's folder.
fn plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The default model's description with one value changed; `path` is its JSON pointer.
    fn parsed(path: &str, value: &Value) -> Result<Bundle, BundleError> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/zegformer-lite/bundle.json");
        let text = std::fs::read_to_string(file).expect("the default model's description");
        let mut bundle: Value = serde_json::from_str(&text).expect("JSON");
        // Some have a default and are not written out.
        let (whole, part) = path.rsplit_once('/').expect("a path");
        match bundle.pointer_mut(whole).expect(whole) {
            Value::Array(list) => list[part.parse::<usize>().expect("an index")] = value.clone(),
            other => other[part] = value.clone(),
        }
        Bundle::parse(&bundle.to_string())
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        // Beyond f32: JSON has no infinity of its own.
        let infinite = json!(1e39);
        for (path, good, bad) in [
            ("/other/threshold", json!(0.0), vec![json!(-0.1), json!(1.1), infinite.clone()]),
            ("/other/near", json!(-1.0), vec![json!(-1.1), json!(1.5), infinite.clone()]),
            ("/classify/lambda", json!(1.0), vec![json!(-0.1), json!(1.1)]),
            ("/classify/gamma", json!(-0.5), vec![infinite.clone()]),
            ("/classify/margin", json!(2.0), vec![infinite.clone()]),
            ("/classify/temperature", json!(0.1), vec![json!(0.0), json!(-1.0), infinite.clone()]),
            ("/vocabulary/unseen_kinds", json!(1.0), vec![json!(-0.1), json!(1.1), infinite.clone()]),
            ("/segmenter/position/temperature", json!(1.0), vec![json!(0.0), json!(-1.0), infinite.clone()]),
            ("/pixels/mean/1", json!(-3.0), vec![infinite.clone()]),
            ("/pixels/std/2", json!(0.5), vec![json!(0.0), infinite.clone()]),
            ("/image/mean/0", json!(0.0), vec![infinite.clone()]),
            ("/image/std/0", json!(1.0), vec![json!(-1.0), infinite.clone()]),
        ] {
            assert!(parsed(path, &good).is_ok(), "{path} = {good}: {:?}", parsed(path, &good).err());
            let name = path.trim_start_matches('/').trim_end_matches(|c: char| c == '/' || c.is_ascii_digit());
            for value in bad {
                let error = parsed(path, &value).expect_err(path).to_string();
                assert!(error.contains(&name.replace('/', ".")) && error.contains("must be"), "{path}: {error}");
            }
        }
    }
}
