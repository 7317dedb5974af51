//! What the typed names come to: their vectors, their kinds, and the names that compete silently.

use std::collections::{BTreeSet, HashSet};

use super::{Error, Pipeline};
use crate::bundle::{Bundle, Other};
use crate::classify::{ClassVectors, Row, dot};
use crate::text::prompts::key;
use crate::text::{Class, Hierarchy};

/// Names whose vectors have this cosine have one vector, but for rounding.
const SAME: f32 = 0.999;

/// The bundle's lists of names, as [`key`] writes them.
pub(super) struct Lists {
    seen: HashSet<String>,
    grouped: HashSet<String>,
    /// Names that the model knows: seen ones and distractors.
    known: HashSet<String>,
    kinds: Hierarchy,
}

/// Of one list of classes; made anew when it changes.
pub(super) struct Names {
    /// A row for each class, then one for each kind.
    pub vectors: ClassVectors,
    pub rows: Vec<Row>,
    /// What the rows are called.
    titles: Vec<String>,
    pub distractors: ClassVectors,
    /// What the distractors are called.
    pub silent: Vec<String>,
}

impl Lists {
    pub fn of(bundle: &Bundle) -> Lists {
        let keys = |names: &[String]| names.iter().map(|name| key(name)).collect::<HashSet<String>>();
        let seen = keys(&bundle.classify.seen);
        let distractors = bundle.other.as_ref().map(|other| keys(&other.distractors)).unwrap_or_default();
        Lists {
            grouped: keys(&bundle.classify.grouped),
            known: &seen | &distractors,
            kinds: bundle.vocabulary.as_ref().map(|words| Hierarchy::new(&words.kinds)).unwrap_or_default(),
            seen,
        }
    }

    /// Whether the bundle says on which names the segmenter was trained.
    pub fn say_what_was_seen(&self) -> bool {
        !self.seen.is_empty()
    }
}

impl Names {
    pub fn is_seen(&self, class: usize) -> bool {
        self.rows.iter().any(|row| row.class == class && row.seen)
    }

    /// What else a class is looked for as, what was taught with masks first.
    pub fn kinds(&self, class: usize) -> Vec<String> {
        // The first row of a class is its own.
        let rows = self.rows.iter().zip(&self.titles).filter(|(row, _)| row.class == class).skip(1);
        let (seen, others): (Vec<_>, Vec<_>) = rows.partition(|(row, _)| row.seen);
        seen.into_iter().chain(others).map(|(_, title)| title.clone()).collect()
    }

    /// The kind of its class that a row stands for; `None` for the class's own name.
    pub fn kind(&self, row: usize) -> Option<&str> {
        let is_own = self.rows.get(row)?.class == row;
        self.titles.get(row).filter(|_| !is_own).map(String::as_str)
    }
}

impl Pipeline {
    pub(super) async fn run_text(&mut self) -> Result<(), Error> {
        self.make_room();
        let mut vectors = self.text.embed(&self.classes, &self.bundle, &*self.source, &self.engine).await?;
        let typed: Vec<BTreeSet<String>> = self.classes.iter().map(|class| self.meanings(class)).collect();
        let kinds = self.kinds(&typed);
        let titles: Vec<Class> = kinds.iter().map(|(_, kind)| Class::plain(kind)).collect();
        let more = self.text.embed(&titles, &self.bundle, &*self.source, &self.engine).await?;
        let mut kept = Vec::new();
        for ((class, kind), (query, image)) in kinds.into_iter().zip(more.query.into_iter().zip(more.image)) {
            // "Pferd" has the vector of its kind "horse": twice in a softmax, each would get half.
            if dot(&vectors.query[class], &query) < SAME {
                vectors.query.push(query);
                vectors.image.push(image);
                kept.push((class, kind));
            }
        }

        let is_in = |list: &HashSet<String>, names: &BTreeSet<String>| names.iter().any(|name| list.contains(name));
        let row = |class, names: &BTreeSet<String>, weight| Row {
            class,
            weight,
            seen: is_in(&self.lists.seen, names),
            grouped: is_in(&self.lists.grouped, names),
        };
        let mut rows: Vec<Row> = typed.iter().enumerate().map(|(class, names)| row(class, names, 1.0)).collect();
        let unseen = self.bundle.vocabulary.as_ref().map_or(1.0, |words| words.unseen_kinds);
        for (class, kind) in &kept {
            let names = BTreeSet::from([kind.clone()]);
            rows.push(row(*class, &names, if is_in(&self.lists.seen, &names) { 1.0 } else { unseen }));
        }
        let own = self.classes.iter().map(|class| class.name.clone());
        let titles = own.chain(kept.into_iter().map(|(_, kind)| kind)).collect();
        let (silent, distractors) = match self.bundle.other.clone() {
            Some(other) => self.silent(&other, &typed, &vectors).await?,
            None => Default::default(),
        };
        if self.lean() {
            self.text.free_graph();
        }
        self.kept.names = Some(Names { vectors, rows, titles, distractors, silent });
        Ok(())
    }

    /// The names of a class, and known ones of the same meaning or that a phrase is about.
    fn meanings(&self, class: &Class) -> BTreeSet<String> {
        let forms = |name| [Some(name), self.text.known(name), self.text.about(name)];
        class.names().flat_map(forms).flatten().map(key).collect()
    }

    /// Of each class the kinds that the model knows. What is typed is no other class's kind, and neither are the kinds of
    /// what is typed: beside "bird" an "animal" is any other one.
    fn kinds(&self, typed: &[BTreeSet<String>]) -> Vec<(usize, String)> {
        let kinds = &self.lists.kinds;
        let mut found = Vec::new();
        for (class, names) in typed.iter().enumerate() {
            let below: Vec<&str> = names.iter().flat_map(|name| kinds.below(name)).collect();
            let others = typed.iter().flatten().filter(|name| below.contains(&name.as_str()));
            let taken: HashSet<&str> =
                others.flat_map(|name| kinds.below(name)).chain(typed.iter().flatten().map(String::as_str)).collect();
            let mut met = HashSet::new();
            for kind in below {
                if self.lists.known.contains(kind) && !taken.contains(kind) && met.insert(kind) {
                    found.push((class, kind.to_owned()));
                }
            }
        }
        found
    }

    /// The distractors and their vectors, without those that would take the pixels of what is typed away: those that mean
    /// the same, are above or below it, are near to it, or are below one that is.
    async fn silent(
        &mut self,
        other: &Other,
        typed: &[BTreeSet<String>],
        vectors: &ClassVectors,
    ) -> Result<(Vec<String>, ClassVectors), Error> {
        let kinds = &self.lists.kinds;
        let typed: HashSet<&str> = typed.iter().flatten().map(String::as_str).collect();
        let below: HashSet<&str> = typed.iter().flat_map(|name| kinds.below(name)).collect();
        let gives_way = |name: &str| {
            let name = key(name);
            typed.contains(name.as_str())
                || below.contains(name.as_str())
                || kinds.below(&name).iter().any(|kind| typed.contains(kind))
        };
        let names: Vec<Class> =
            other.distractors.iter().filter(|name| !gives_way(name)).map(|name| Class::plain(name)).collect();
        let all = self.text.embed(&names, &self.bundle, &*self.source, &self.engine).await?;
        let kinds = &self.lists.kinds;
        let is_near = |row: &[f32]| vectors.query.iter().any(|typed| dot(typed, row) > other.near);
        let mut away = HashSet::new();
        for (name, row) in names.iter().zip(&all.query) {
            if is_near(row) {
                away.insert(key(&name.name));
                away.extend(kinds.below(&name.name).into_iter().map(str::to_owned));
            }
        }
        let mut silent = Vec::new();
        let mut rows = ClassVectors::default();
        for (name, (query, image)) in names.into_iter().zip(all.query.into_iter().zip(all.image)) {
            if !away.contains(&key(&name.name)) {
                silent.push(name.name);
                rows.query.push(query);
                rows.image.push(image);
            }
        }
        Ok((silent, rows))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use async_trait::async_trait;
    use serde::Deserialize;

    use super::*;
    use crate::bundle::{BundleError, Source};
    use crate::engine::EngineChoice;

    struct DefaultModel;

    fn file(name: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
    }

    #[async_trait(?Send)]
    impl Source for DefaultModel {
        async fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
            file(&format!("models/zegformer-lite/{name}"))
                .map_err(|error| BundleError::Read { file: name.to_string(), reason: error.to_string() })
        }
    }

    #[derive(Deserialize)]
    struct Case {
        typed: String,
        /// In any order: the class's place and its kind.
        kinds: BTreeSet<(usize, String)>,
        /// The distractors that do not compete.
        away: BTreeSet<String>,
    }

    /// The same file is read by the tests of the Python that chooses the bundle's settings.
    #[test]
    fn kinds_and_silent_names_are_those_that_settings_were_chosen_with() {
        let json = file("models/zegformer-lite/bundle.json").expect("bundle.json");
        let bundle = Bundle::parse(&String::from_utf8(json).expect("text")).expect("a valid bundle");
        let all = bundle.other.clone().expect("distractors").distractors;
        let mut pipeline =
            pollster::block_on(Pipeline::new(bundle, Rc::new(DefaultModel), EngineChoice::Cpu)).expect("an engine");
        let cases: Vec<Case> =
            serde_json::from_slice(&file("tests/golden/names.json").expect("the cases")).expect("a list of cases");
        assert!(!cases.is_empty());
        for case in cases {
            pipeline.set_classes(&case.typed).expect("names");
            pollster::block_on(pipeline.run_text()).expect("vectors");
            let names = pipeline.kept.names.as_ref().expect("names");
            let kinds = names.rows.iter().zip(&names.titles).enumerate().filter(|(row, _)| names.kind(*row).is_some());
            let kinds: BTreeSet<_> = kinds.map(|(_, (row, title))| (row.class, title.clone())).collect();
            assert_eq!(kinds, case.kinds, "{}", case.typed);
            let away: BTreeSet<_> = all.iter().filter(|name| !names.silent.contains(name)).cloned().collect();
            assert_eq!(away, case.away, "{}", case.typed);
        }
    }
}
