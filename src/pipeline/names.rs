//! What the typed names come to: their vectors, their kinds, and the names that compete silently.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::{Error, Pipeline, Watch};
use crate::bundle::Bundle;
use crate::classify::{ClassVectors, Row, dot};
use crate::text::{Class, Hierarchy};

/// Names whose vectors have this cosine have one vector, but for rounding.
const SAME: f32 = 0.999;

/// The meanings of one class's names, and of what these are about where they are phrases.
type Meanings = BTreeSet<String>;

/// The bundle's lists of names. Each name stands there as its meaning: see [`crate::text::encoder::TextEncoder::meaning`].
pub(super) struct Lists {
    seen: HashSet<String>,
    grouped: HashSet<String>,
    /// Names that the model knows: seen ones and distractors.
    known: HashSet<String>,
    /// The distractors as they are written, with their meanings.
    distractors: Vec<(String, String)>,
    kinds: Hierarchy,
    /// What the score of a kind counts for that is not seen.
    unseen_kinds: f32,
}

/// Of one list of classes; made anew when it changes.
#[derive(Default)]
pub(super) struct Names {
    /// A row for each class that is called what no earlier one is called, and one for each kind.
    pub vectors: ClassVectors,
    /// What the rows of `vectors` stand for.
    pub rows: Vec<Row>,
    /// Of each row the kind of its class that it is; `None` for the class by its own names.
    pub kinds: Vec<Option<String>>,
    /// Of each class the earlier one that has its vector.
    same_as: Vec<Option<usize>>,
    pub distractors: ClassVectors,
    /// What the distractors are called.
    pub silent: Vec<String>,
}

impl Lists {
    fn of(bundle: &Bundle, meaning: impl Fn(&str) -> String) -> Lists {
        let meanings = |names: &[String]| names.iter().map(|name| meaning(name)).collect::<HashSet<String>>();
        let distractors = bundle.other.iter().flat_map(|other| &other.distractors);
        let distractors: Vec<_> = distractors.map(|name| (name.clone(), meaning(name))).collect();
        let seen = meanings(&bundle.classify.seen);
        let words = bundle.vocabulary.as_ref();
        Lists {
            grouped: meanings(&bundle.classify.grouped),
            known: seen.iter().chain(distractors.iter().map(|(_, meaning)| meaning)).cloned().collect(),
            distractors,
            kinds: words.map(|words| Hierarchy::new(&words.kinds, &meaning)).unwrap_or_default(),
            unseen_kinds: words.map_or(1.0, |words| words.unseen_kinds),
            seen,
        }
    }

    /// Of each class the kinds that the model knows, and those of its own names that lie below another one: the mean of
    /// "animal" and "bird" is neither. What is typed is no other class's kind, and neither are the kinds of what is typed:
    /// beside "bird" an "animal" is any other one. A kind of two classes is the first one's: twice in a softmax, each
    /// would get half.
    fn kinds(&self, typed: &[Meanings]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut met = HashSet::new();
        for (class, own) in typed.iter().enumerate() {
            let below: Vec<&str> = own.iter().flat_map(|name| self.kinds.below(name)).collect();
            let others = typed.iter().enumerate().filter(|&(at, _)| at != class);
            let others: HashSet<&str> = others.flat_map(|(_, names)| names).map(String::as_str).collect();
            let theirs = others.iter().filter(|name| below.contains(name));
            let theirs: HashSet<&str> = theirs.flat_map(|name| self.kinds.below(name)).collect();
            let counts = |kind: &str| own.contains(kind) || self.known.contains(kind) && !theirs.contains(kind);
            for kind in below {
                if !others.contains(kind) && counts(kind) && met.insert(kind) {
                    found.push((class, kind.to_owned()));
                }
            }
        }
        found
    }

    /// The distractors that neither mean the same as what is typed nor lie above or below it.
    fn apart(&self, typed: &[Meanings]) -> Vec<&(String, String)> {
        let typed: HashSet<&str> = typed.iter().flatten().map(String::as_str).collect();
        let below: HashSet<&str> = typed.iter().flat_map(|name| self.kinds.below(name)).collect();
        let gives_way = |name: &str| {
            typed.contains(name)
                || below.contains(name)
                || self.kinds.below(name).iter().any(|kind| typed.contains(kind))
        };
        self.distractors.iter().filter(|(_, meaning)| !gives_way(meaning)).collect()
    }

    fn row(&self, class: usize, names: &Meanings, weight: f32) -> Row {
        let is_in = |list: &HashSet<String>| names.iter().any(|name| list.contains(name));
        Row { class, weight, seen: is_in(&self.seen), grouped: is_in(&self.grouped) }
    }

    /// The row of a kind. What was typed, or taught with masks, counts in full.
    fn row_of_kind(&self, class: usize, kind: &str, own: &Meanings) -> Row {
        let is_sure = own.contains(kind) || self.seen.contains(kind);
        self.row(class, &Meanings::from([kind.to_owned()]), if is_sure { 1.0 } else { self.unseen_kinds })
    }
}

impl Names {
    /// Rows for the classes that have a vector of their own.
    fn of_classes(lists: &Lists, typed: &[Meanings], own: ClassVectors, same_as: Vec<Option<usize>>) -> Names {
        let mut names = Names { same_as, ..Names::default() };
        for (class, (query, image)) in own.query.into_iter().zip(own.image).enumerate() {
            if names.same_as[class].is_none() {
                names.push(lists.row(class, &typed[class], 1.0), None, query, image);
            }
        }
        names
    }

    fn push(&mut self, row: Row, kind: Option<String>, query: Vec<f32>, image: Vec<f32>) {
        self.vectors.query.push(query);
        self.vectors.image.push(image);
        self.rows.push(row);
        self.kinds.push(kind);
    }

    /// Takes these distractors, with their vectors, without those that would take the pixels of what is typed away: those
    /// that are nearer to it than `near`, and what is below one that is.
    fn compete(&mut self, lists: &Lists, apart: &[&(String, String)], vectors: ClassVectors, near: f32) {
        let is_near = |row: &[f32]| self.vectors.query.iter().any(|typed| dot(typed, row) > near);
        let mut away = HashSet::new();
        for ((_, meaning), row) in apart.iter().zip(&vectors.query) {
            if is_near(row) {
                away.insert(meaning.as_str());
                away.extend(lists.kinds.below(meaning));
            }
        }
        for ((name, meaning), (query, image)) in apart.iter().zip(vectors.query.into_iter().zip(vectors.image)) {
            if !away.contains(meaning.as_str()) {
                self.silent.push(name.clone());
                self.distractors.query.push(query);
                self.distractors.image.push(image);
            }
        }
    }

    pub fn is_seen(&self, class: usize) -> bool {
        let class = self.same_as(class).unwrap_or(class);
        self.rows.iter().any(|row| row.class == class && row.seen)
    }

    /// The earlier class that has the vector of this one. It alone has rows.
    pub fn same_as(&self, class: usize) -> Option<usize> {
        self.same_as.get(class).copied().flatten()
    }

    /// What else a class is looked for as, what was taught with masks first.
    pub fn kinds(&self, class: usize) -> Vec<String> {
        let rows = self.rows.iter().zip(&self.kinds).filter(|(row, _)| row.class == class);
        let (seen, others): (Vec<_>, Vec<_>) = rows.partition(|(row, _)| row.seen);
        seen.into_iter().chain(others).filter_map(|(_, kind)| kind.clone()).collect()
    }

    /// The kind of its class that a row stands for; `None` for the class's own names.
    pub fn kind(&self, row: usize) -> Option<&str> {
        self.kinds.get(row)?.as_deref()
    }
}

impl Pipeline {
    pub(super) async fn run_text(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        self.make_room();
        let classes = self.classes.clone();
        self.learn(&classes, watch).await?;
        let width = self.bundle.embedding;
        let own = self.text.vectors(&classes, width)?;
        let lists = self.lists.get_or_insert_with(|| Rc::new(Lists::of(&self.bundle, |name| self.text.meaning(name))));
        let lists = Rc::clone(lists);
        let mut typed: Vec<Meanings> = classes.iter().map(|class| self.meanings(class)).collect();
        let same_as = earlier_of_the_same(&own.query);
        for (class, earlier) in same_as.iter().enumerate().filter_map(|(class, &earlier)| Some((class, earlier?))) {
            let names = std::mem::take(&mut typed[class]);
            typed[earlier].extend(names);
        }

        let kinds = lists.kinds(&typed);
        let apart = lists.apart(&typed);
        let titles: Vec<Class> = kinds.iter().map(|(_, kind)| Class::plain(kind)).collect();
        let distractors: Vec<Class> = apart.iter().map(|(name, _)| Class::plain(name)).collect();
        self.learn(&[&titles[..], &distractors].concat(), watch).await?;
        if self.lean() {
            self.text.free_graph();
        }

        let is_typed = |row: &[f32]| own.query.iter().any(|own| dot(own, row) >= SAME);
        let more = self.text.vectors(&titles, width)?;
        let more = more.query.into_iter().zip(more.image).zip(kinds);
        let kept: Vec<_> = more.filter(|((query, _), _)| !is_typed(query)).collect();
        let mut names = Names::of_classes(&lists, &typed, own, same_as);
        for ((query, image), (class, kind)) in kept {
            names.push(lists.row_of_kind(class, &kind, &typed[class]), Some(kind), query, image);
        }
        if let Some(other) = &self.bundle.other {
            names.compete(&lists, &apart, self.text.vectors(&distractors, width)?, other.near);
        }
        self.kept.names = Some(names);
        Ok(())
    }

    async fn learn(&mut self, classes: &[Class], watch: &mut Watch<'_>) -> Result<(), Error> {
        self.text.learn(classes, &self.bundle, &*self.source, &self.engine, watch).await
    }

    fn meanings(&self, class: &Class) -> Meanings {
        let forms = |name| [Some(name), self.text.about(name)];
        class.names().flat_map(forms).flatten().map(|name| self.text.meaning(name)).collect()
    }
}

/// Of each vector the earlier one that is the same and is so for no other itself. Twice in a softmax, each would get half.
fn earlier_of_the_same(vectors: &[Vec<f32>]) -> Vec<Option<usize>> {
    let mut found: Vec<Option<usize>> = Vec::with_capacity(vectors.len());
    for (at, vector) in vectors.iter().enumerate() {
        let is_same = |&earlier: &usize| found[earlier].is_none() && dot(vector, &vectors[earlier]) >= SAME;
        found.push((0..at).find(is_same));
    }
    found
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
    use crate::pipeline::Unobserved;

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
            let (mut observer, mut stages) = (Unobserved, Vec::new());
            let mut watch = Watch::new(&mut observer, &mut stages);
            pollster::block_on(pipeline.run_text(&mut watch)).expect("vectors");
            let names = pipeline.kept.names.as_ref().expect("names");
            let kinds = names.rows.iter().zip(&names.kinds);
            let kinds: BTreeSet<_> = kinds.filter_map(|(row, kind)| Some((row.class, kind.clone()?))).collect();
            assert_eq!(kinds, case.kinds, "{}", case.typed);
            let away: BTreeSet<_> = all.iter().filter(|name| !names.silent.contains(name)).cloned().collect();
            assert_eq!(away, case.away, "{}", case.typed);
        }
    }

    #[test]
    fn equal_vectors_are_the_first_ones() {
        let turned = |angle: f32| vec![angle.cos(), angle.sin()];
        // Neighbours here have a cosine of 0.9992, the next but one of 0.9968.
        let vectors = [turned(0.0), turned(0.04), turned(0.08), turned(0.0), turned(0.08)];
        assert_eq!(earlier_of_the_same(&vectors), [None, Some(0), None, Some(0), Some(2)]);
    }
}
