//! What a `bundle.json` may say.

use super::{Bundle, BundleError, FORMAT, MAX_FILE_BYTES, MAX_QUERIES};

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
        field(self.pixels.std.iter().all(|&std| std > 0.0), "pixels.std", "must be positive")?;
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
        field(self.image.std.iter().all(|&std| std > 0.0), "image.std", "must be positive")?;
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
        field((0.0..=1.0).contains(&self.classify.lambda), "classify.lambda", "must be 0 to 1")?;
        field(
            self.classify.temperature > 0.0 && self.classify.temperature.is_finite(),
            "classify.temperature",
            "must be positive",
        )?;
        if let Some(vocabulary) = &self.vocabulary {
            field(
                vocabulary.head.is_none_or(|head| (0.0..=10.0).contains(&head)),
                "vocabulary.head",
                "must be 0 to 10",
            )?;
            field((0.0..=1.0).contains(&vocabulary.unseen_kinds), "vocabulary.unseen_kinds", "must be 0 to 1")?;
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
