//! The vectors of names: ready ones from the bundle, computed ones remembered, and the mean over a class's names.

use std::collections::HashMap;

use half::f16;

use super::error::TextError;
use super::head::forms;
use super::prompts::{Class, key};

/// The two ways in which ZegFormer classifies a segment; each reads its own prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// By the segment embedding of its query.
    Query,
    /// By the image encoder's vector of its masked crop.
    Image,
}

/// Names whose vectors come with the bundle, so that they cost no run of the text encoder.
pub struct Vocabulary {
    names: Vec<String>,
    rows: HashMap<String, usize>,
    /// Of each row the first one with the same vectors.
    first: Vec<usize>,
    query: Vec<u8>,
    image: Option<Vec<u8>>,
    width: usize,
    head: Option<f32>,
}

impl Vocabulary {
    /// Reads a vocabulary.
    ///
    /// - `names`: file name and bytes of a JSON list of `N` names.
    /// - `query`: file name and bytes of `[N, width]` little-endian half floats, unit rows, of the query branch.
    /// - `image`: the same of the image branch; `None` if both branches share their vectors.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] if the list cannot be read or the sizes do not match.
    pub fn new(
        names: (&str, &[u8]),
        query: (&str, Vec<u8>),
        image: Option<(&str, Vec<u8>)>,
        width: usize,
    ) -> Result<Self, TextError> {
        let refuse = |file: &str, reason: String| TextError::Vocabulary { file: file.to_owned(), reason };
        let list: Vec<String> =
            serde_json::from_slice(names.1).map_err(|e| refuse(names.0, format!("not a JSON list of names ({e})")))?;
        let expected = list.len().checked_mul(width).and_then(|cells| cells.checked_mul(2));
        for (file, bytes) in
            [Some((query.0, &query.1)), image.as_ref().map(|(file, bytes)| (*file, bytes))].iter().flatten()
        {
            if expected != Some(bytes.len()) {
                let reason = format!("{} bytes do not make {} rows of {width} half floats", bytes.len(), list.len());
                return Err(refuse(file, reason));
            }
        }
        let mut rows = HashMap::with_capacity(list.len());
        for (row, name) in list.iter().enumerate() {
            rows.entry(key(name)).or_insert(row);
        }
        let (query, image) = (query.1, image.map(|(_, bytes)| bytes));
        let mut met = HashMap::with_capacity(list.len());
        let vectors = |row| (cells(&query, row, width), image.as_ref().map(|image| cells(image, row, width)));
        let first = (0..list.len()).map(|row| *met.entry(vectors(row)).or_insert(row)).collect();
        Ok(Self { names: list, rows, first, query, image, width, head: None })
    }

    /// Also finds other forms of its names ("the dogs"), and lends the vector of a name to phrases that are about it ("a
    /// brown dog"): theirs is then their own plus `head` times that one, at unit length. `None`: names as they are typed.
    #[must_use]
    pub fn with_heads(self, head: Option<f32>) -> Self {
        Self { head, ..self }
    }

    /// The unit vector of a name (`width` numbers), found if the name equals a known one but for case and white space, or,
    /// [with heads](Self::with_heads), is another form of one.
    pub fn vector(&self, branch: Branch, name: &str) -> Option<Vec<f32>> {
        Some(self.row(branch, self.row_of(name)?))
    }

    /// The first name in the vocabulary with the vector that a name has: names of one vector ("dog", "Hund", "chien") are
    /// one meaning. A name that is not there may, [with heads](Self::with_heads), be another form of one.
    pub fn known(&self, name: &str) -> Option<&str> {
        Some(&self.names[self.first[self.row_of(name)?]])
    }

    fn row_of(&self, name: &str) -> Option<usize> {
        let exact = self.rows.get(&key(name)).copied();
        exact.or_else(|| self.head.and(self.form(name)).filter(|&(_, whole)| whole).map(|(row, _)| row))
    }

    /// The known name that a phrase leans on; `None` for a name that is known as it is or in another form.
    pub fn about(&self, name: &str) -> Option<&str> {
        self.head.filter(|&weight| weight > 0.0)?;
        if self.rows.contains_key(&key(name)) {
            return None;
        }
        self.form(name).filter(|&(_, whole)| !whole).map(|(row, _)| self.names[row].as_str())
    }

    /// The weight and the vector of the known name that a phrase is about.
    fn head(&self, branch: Branch, name: &str) -> Option<(f32, Vec<f32>)> {
        let weight = self.head?;
        Some((weight, self.row(branch, self.form(name)?.0)))
    }

    /// The row of the best known form of a name, and whether it means the same.
    fn form(&self, name: &str) -> Option<(usize, bool)> {
        forms(name).into_iter().find_map(|form| Some((*self.rows.get(&form.name)?, form.whole)))
    }

    fn row(&self, branch: Branch, row: usize) -> Vec<f32> {
        let bytes = match branch {
            Branch::Query => &self.query,
            Branch::Image => self.image.as_ref().unwrap_or(&self.query),
        };
        let (halves, _) = cells(bytes, row, self.width).as_chunks();
        halves.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
    }
}

/// The bytes of one row of `width` half floats.
fn cells(rows: &[u8], row: usize, width: usize) -> &[u8] {
    &rows[2 * row * width..2 * (row + 1) * width]
}

/// All vectors known so far: the vocabulary's and the computed ones.
pub struct WordVectors {
    vocabulary: Option<Vocabulary>,
    computed: HashMap<(Branch, String), Vec<f32>>,
    shared: bool,
    width: usize,
}

impl WordVectors {
    /// Starts with what the bundle brings. `shared` says that both branches have the same templates, so that a name
    /// computed for one serves the other; `width` is the embedding width.
    pub fn new(vocabulary: Option<Vocabulary>, shared: bool, width: usize) -> Self {
        Self { vocabulary, computed: HashMap::new(), shared, width }
    }

    /// The bundle's vocabulary, if it has one.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_ref()
    }

    /// Names of these classes that still need the text encoder, each once.
    pub fn missing(&self, branch: Branch, classes: &[Class]) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let names = classes.iter().flat_map(Class::names);
        names.filter(|name| self.vector(branch, name).is_none() && seen.insert(key(name))).map(str::to_owned).collect()
    }

    /// Remembers a name by the vectors that the text encoder gave for its prompts (`prompts * width` numbers).
    ///
    /// Their mean is kept as it is, not renormalised: averaging the means of several names then equals the average over
    /// all prompts of the class, as ZegFormer takes it (`transformer_zeroshot_predictor.py` lines 125 to 144). A
    /// vocabulary [with heads](Vocabulary::with_heads) adds its part.
    ///
    /// # Errors
    /// [`TextError::NoDirection`] if there is no vector, or one that is zero or not finite.
    pub fn insert(&mut self, branch: Branch, name: &str, prompts: &[f32]) -> Result<(), TextError> {
        let whole = self.width > 0 && !prompts.is_empty() && prompts.len().is_multiple_of(self.width);
        let units = prompts.chunks(self.width.max(1)).map(unit).collect::<Option<Vec<_>>>();
        let mean = units.filter(|_| whole).and_then(|units| mean(&units));
        let head = self.vocabulary.as_ref().and_then(|vocabulary| vocabulary.head(branch, name));
        let mean = match (mean, head) {
            (Some(mean), Some((weight, head))) => unit(&mean).and_then(|own| {
                unit(&own.iter().zip(&head).map(|(own, head)| own + weight * head).collect::<Vec<_>>())
            }),
            (mean, _) => mean,
        };
        let mean = mean.ok_or_else(|| TextError::NoDirection { name: name.to_owned() })?;
        self.computed.insert((self.slot(branch), key(name)), mean);
        Ok(())
    }

    /// The unit vectors of the classes, `[classes, width]` row by row: the mean over each class's names, renormalised.
    ///
    /// # Errors
    /// [`TextError::Missing`] if a name has no vector yet, [`TextError::NoDirection`] if a mean is zero.
    pub fn matrix(&self, branch: Branch, classes: &[Class]) -> Result<Vec<f32>, TextError> {
        let mut matrix = Vec::with_capacity(classes.len() * self.width);
        for class in classes {
            let vectors = class
                .names()
                .map(|name| self.vector(branch, name).ok_or_else(|| TextError::Missing { name: name.to_owned() }))
                .collect::<Result<Vec<_>, _>>()?;
            let direction = mean(&vectors).and_then(|mean| unit(&mean));
            matrix.extend(direction.ok_or_else(|| TextError::NoDirection { name: class.name.clone() })?);
        }
        Ok(matrix)
    }

    fn vector(&self, branch: Branch, name: &str) -> Option<Vec<f32>> {
        let ready = self.vocabulary.as_ref().and_then(|vocabulary| vocabulary.vector(branch, name));
        ready.or_else(|| self.computed.get(&(self.slot(branch), key(name))).cloned())
    }

    fn slot(&self, branch: Branch) -> Branch {
        if self.shared { Branch::Query } else { branch }
    }
}

/// The vector at length 1; `None` if it has no direction.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    (length.is_finite() && length > 1e-12).then(|| vector.iter().map(|v| v / length).collect())
}

/// The mean of vectors of one width; `None` if there is none.
fn mean(vectors: &[Vec<f32>]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; vectors.first()?.len()];
    for vector in vectors {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += value / vectors.len() as f32;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::super::parse_classes;
    use super::*;

    fn halves(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
    }

    fn vocabulary() -> Vocabulary {
        let names = br#"["Cat", "traffic light", "cat"]"#;
        let query = halves(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
        Vocabulary::new(("v.json", names), ("q.f16", query), None, 2).unwrap()
    }

    #[test]
    fn names_are_found_without_regard_to_case() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.vector(Branch::Query, "CAT"), Some(vec![1.0, 0.0]), "the first of two equal names");
        assert_eq!(vocabulary.vector(Branch::Image, "Traffic  Light"), Some(vec![0.0, 1.0]));
        assert_eq!(vocabulary.vector(Branch::Query, "cats"), None);
    }

    #[test]
    fn names_of_one_vector_are_known_by_the_first() {
        let names = br#"["dog", "cat", "Hund", "chien"]"#;
        let query = halves(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
        // The image branch tells the last one from the others.
        let image = halves(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0]);
        let known = |image| {
            let vocabulary = Vocabulary::new(("v.json", names), ("q.f16", query.clone()), image, 2).unwrap();
            let vocabulary = vocabulary.with_heads(Some(1.0));
            ["dog", "hund", "the Hunds", "chien", "cat"].map(|name| vocabulary.known(name).unwrap().to_owned())
        };
        assert_eq!(known(None), ["dog", "dog", "dog", "dog", "cat"]);
        assert_eq!(known(Some(("i.f16", image))), ["dog", "dog", "dog", "chien", "cat"]);
    }

    #[test]
    fn with_heads_other_forms_are_found_and_phrases_lean_on_their_head() {
        let vocabulary = vocabulary().with_heads(Some(1.0));
        assert_eq!(vocabulary.vector(Branch::Query, "the cats"), Some(vec![1.0, 0.0]));
        assert_eq!(vocabulary.vector(Branch::Query, "a black cat"), None);
        assert_eq!((vocabulary.known("the cats"), vocabulary.known("CAT")), (Some("Cat"), Some("Cat")));
        assert_eq!((vocabulary.known("a black cat"), vocabulary.known("blorf")), (None, None));
        assert_eq!(vocabulary.about("a black cat"), Some("Cat"));
        assert_eq!((vocabulary.about("the cats"), vocabulary.about("blorf")), (None, None));
        let mut vectors = WordVectors::new(Some(vocabulary), true, 2);
        let classes = parse_classes("cats, a black cat, blorf").unwrap();
        assert_eq!(vectors.missing(Branch::Query, &classes), ["a black cat", "blorf"]);
        vectors.insert(Branch::Query, "a black cat", &[0.0, -2.0]).unwrap();
        vectors.insert(Branch::Query, "blorf", &[0.0, 1.0]).unwrap();
        let half = 0.5f32.sqrt();
        let matrix = vectors.matrix(Branch::Query, &classes).unwrap();
        for (got, want) in matrix.iter().zip([1.0, 0.0, half, -half, 0.0, 1.0]) {
            assert!((got - want).abs() < 1e-6, "{matrix:?}");
        }
        assert!(vectors.insert(Branch::Query, "a cat upside down cat", &[-1.0, 0.0]).is_err(), "opposite to its head");
    }

    #[test]
    fn each_branch_has_its_vectors() {
        let image = Some(("i.f16", halves(&[0.0, -1.0])));
        let vocabulary = Vocabulary::new(("v.json", br#"["a"]"#), ("q.f16", halves(&[1.0, 0.0])), image, 2).unwrap();
        assert_eq!(vocabulary.vector(Branch::Image, "a"), Some(vec![0.0, -1.0]));
    }

    #[test]
    fn wrong_files_are_refused_by_name() {
        let error = |names: &[u8], query: Vec<u8>, image: Option<Vec<u8>>| {
            let image = image.map(|bytes| ("i.f16", bytes));
            Vocabulary::new(("v.json", names), ("q.f16", query), image, 2).err().unwrap().to_string()
        };
        assert!(error(b"{", vec![], None).starts_with("v.json: "));
        assert!(error(br#"["a"]"#, vec![0; 3], None).starts_with("q.f16: "));
        assert!(error(br#"["a"]"#, vec![0; 4], Some(vec![0; 8])).starts_with("i.f16: "));
    }

    #[test]
    fn computed_names_are_remembered_and_averaged() {
        let mut vectors = WordVectors::new(Some(vocabulary()), true, 2);
        let classes = parse_classes("cat | kitty, dog, Dog's | DOG's").unwrap();
        assert_eq!(vectors.missing(Branch::Query, &classes), ["kitty", "dog", "Dog's"]);
        assert!(matches!(vectors.matrix(Branch::Query, &classes), Err(TextError::Missing { .. })));
        vectors.insert(Branch::Query, "kitty", &[0.0, 3.0]).unwrap();
        vectors.insert(Branch::Query, "dog", &[2.0, 0.0, 0.0, 5.0]).unwrap();
        vectors.insert(Branch::Query, "dog's", &[0.6, 0.8]).unwrap();
        assert!(vectors.missing(Branch::Image, &classes).is_empty(), "the branches share their templates");
        let half = 0.5f32.sqrt();
        let matrix = vectors.matrix(Branch::Image, &classes).unwrap();
        for (got, want) in matrix.iter().zip([half, half, half, half, 0.6, 0.8]) {
            assert!((got - want).abs() < 1e-6, "{matrix:?}");
        }
    }

    #[test]
    fn branches_with_their_own_templates_are_apart() {
        let mut vectors = WordVectors::new(None, false, 1);
        let classes = parse_classes("dog").unwrap();
        vectors.insert(Branch::Query, "dog", &[1.0]).unwrap();
        assert!(vectors.missing(Branch::Query, &classes).is_empty());
        assert_eq!(vectors.missing(Branch::Image, &classes), ["dog"]);
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        let mut vectors = WordVectors::new(None, true, 2);
        for bad in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[1.0, 0.0, 1.0], &[f32::INFINITY, 0.0]] {
            assert!(vectors.insert(Branch::Query, "x", bad).is_err(), "{bad:?}");
        }
        vectors.insert(Branch::Query, "a", &[1.0, 0.0]).unwrap();
        vectors.insert(Branch::Query, "b", &[-1.0, 0.0]).unwrap();
        let error = vectors.matrix(Branch::Query, &parse_classes("a | b").unwrap()).unwrap_err();
        assert_eq!(error, TextError::NoDirection { name: "a".to_owned() });
    }
}
