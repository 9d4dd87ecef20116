//! Which keys objects can have.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// The key that stands for any in the example of an object whose keys users choose.
pub(crate) const ANY_KEY: &str = "*";

/// What can be asked of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vocabulary {
    json: Shape,
    words: Shape,
}

impl Vocabulary {
    /// Of the JSON of objects that have every key among them, and of what Docker calls their parts.
    pub(crate) fn of_examples(json: &[Json], words: &[Json]) -> Self {
        Self { json: Shape::of_examples(json), words: Shape::of_examples(words) }
    }

    /// All keys of an object.
    pub(super) fn whole(&self) -> Shape {
        self.json.clone().or(self.words.clone())
    }

    /// Adds null for each key that an object could have, so that it is told from one that it cannot.
    pub(super) fn complete(&self, json: &mut Json, words: &mut Json) {
        self.json.complete(json);
        self.words.complete(words);
    }
}

/// What a value can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nobody knows.
    #[default]
    Unknown,
    /// Text, number or truth.
    Leaf,
    /// A list of such.
    List(Box<Shape>),
    /// An object with some of these keys.
    Keys(BTreeMap<String, Shape>),
    /// An object with any keys.
    AnyKey(Box<Shape>),
}

impl Shape {
    /// The shape of all of these objects, which have every key that there is among them.
    fn of_examples<'a>(examples: impl IntoIterator<Item = &'a Json>) -> Self {
        examples.into_iter().map(Self::of).fold(Self::Unknown, Self::or)
    }

    fn of(example: &Json) -> Self {
        match example {
            Json::Null => Self::Unknown,
            Json::Bool(_) | Json::Number(_) | Json::String(_) => Self::Leaf,
            Json::Array(items) => Self::List(Box::new(Self::of_examples(items))),
            Json::Object(members) => match members.get(ANY_KEY) {
                Some(any) => Self::AnyKey(Box::new(Self::of(any))),
                None => {
                    Self::Keys(members.iter().map(|(key, value)| (key.clone(), Self::of(value))).collect())
                }
            },
        }
    }

    /// One or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::Leaf, Self::Leaf) => Self::Leaf,
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.or(*other))),
            (Self::AnyKey(one), Self::AnyKey(other)) => Self::AnyKey(Box::new(one.or(*other))),
            (Self::Keys(mut keys), Self::Keys(others)) => {
                for (key, other) in others {
                    let known = keys.remove(&key).unwrap_or_default();
                    keys.insert(key, known.or(other));
                }
                Self::Keys(keys)
            }
            // A state in one word or an object: whatever is asked of it may be there.
            _ => Self::Unknown,
        }
    }

    fn complete(&self, json: &mut Json) {
        match (self, json) {
            (Self::List(shape), Json::Array(items)) => items.iter_mut().for_each(|item| shape.complete(item)),
            (Self::AnyKey(shape), Json::Object(members)) => {
                members.values_mut().for_each(|value| shape.complete(value));
            }
            (Self::Keys(keys), Json::Object(members)) => complete_keys(keys, members),
            _ => {}
        }
    }
}

fn complete_keys(keys: &BTreeMap<String, Shape>, members: &mut Map<String, Json>) {
    for (key, shape) in keys {
        shape.complete(members.entry(key.clone()).or_insert(Json::Null));
    }
}
