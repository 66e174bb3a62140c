//! Types that are the same become one.
//!
//! Each translation unit has its own `struct list_head`. Two types are the same when everything in
//! them is, down through all that they refer to; types refer to each other in circles, so this is
//! decided for all at once. At first, types are the same that look the same without what they
//! refer to; then, round by round, those are told apart that refer to different ones, until nothing
//! changes (partition refinement). What is left together cannot be told apart by any path.
//!
//! What one unit only declares and another defines is the defined one, if there is just one of that
//! name. As with libbpf's `btf__dedup`, variables and sections stay apart.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use super::copy::remapped;
use super::strings::Strings;
use super::{Builder, IdMap};
use crate::kind::Word;
use crate::{Kind, TypeId};

/// How many rounds there may be: how deep the first difference between two types may lie. The
/// kernel takes a dozen. Where it lies deeper, no types are taken for the same.
const MAX_ROUNDS: usize = 256;

impl Builder {
    /// Makes one of all types that are the same, and drops strings that no type has (so offsets from
    /// [`Builder::string`] do not hold any longer). The first of each keeps its place in the order.
    /// Says what each type is called now.
    pub fn dedup(&mut self) -> IdMap {
        let graph = Graph::new(self);
        let definitions = graph.definitions();
        let classes = graph.classes(|to| Token::Class(definitions[to as usize]));
        drop(graph);
        // The first of each class that is no declaration of something defined stands for all of it.
        let mut ids = vec![TypeId::VOID; classes.len()];
        let mut kept = Vec::new();
        for (index, &class) in classes.iter().enumerate() {
            if definitions[index] as usize == index && ids[class as usize] == TypeId::VOID {
                ids[class as usize] = TypeId(self.first_id + kept.len() as u32);
                kept.push(TypeId(self.first_id + index as u32));
            }
        }
        let new_id = |&definition: &u32| ids[classes[definition as usize] as usize];
        let map = IdMap { first: self.first_id, ids: definitions.iter().map(new_id).collect() };
        drop((classes, definitions));
        let fresh = match &self.base {
            Some(base) => Builder::split(base.clone()),
            None => Builder::new(),
        };
        let old = std::mem::replace(self, fresh);
        for record in kept.into_iter().filter_map(|id| old.record(id)) {
            let name = |offset| match old.strings.get(offset) {
                Some(text) => self.strings.offset(text),
                None => offset,
            };
            let bytes = remapped(&record, name, |id| map.get(id));
            self.push_known(&bytes);
        }
        map
    }
}

/// The types of a builder, without what refers to what, and that by itself. Types are known by
/// their place among the builder's own.
struct Graph {
    first_id: u32,
    /// Kind, name and whether it is a definition, declaration or neither.
    names: Vec<(Role, u32)>,
    /// Everything else: sizes, members' names and places, values.
    shapes: Lists,
    /// The numbers of the types that each refers to, in order.
    references: Lists,
}

/// Lists of words, one after the other.
#[derive(Default)]
struct Lists {
    words: Vec<u32>,
    /// Where each list ends.
    ends: Vec<u32>,
}

impl Lists {
    fn get(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.words[start as usize..self.ends[index] as usize]
    }

    /// Ends the list that the last words belong to.
    fn end(&mut self) {
        self.ends.push(self.words.len() as u32);
    }
}

/// What a type is to others of its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Defines(Tag),
    Declares(Tag),
    Neither,
}

/// What C tells apart by the word before the name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tag {
    Struct = 1,
    Union,
    Enum,
}

/// What a reference is told apart by.
#[derive(Clone, Copy, Hash)]
enum Token {
    /// By the class of this one of the builder's own types.
    Class(u32),
    /// By its name.
    Name(Tag, u32),
}

impl Graph {
    fn new(builder: &Builder) -> Graph {
        let mut graph = Graph {
            first_id: builder.first_id,
            names: Vec::new(),
            shapes: Lists::default(),
            references: Lists::default(),
        };
        // The same text may stand at several places of the table.
        let mut strings = Strings::default();
        let mut text = |offset| match builder.strings.get(offset) {
            Some(text) => strings.offset(text),
            // One of the base's.
            None => u32::MAX - offset,
        };
        for id in (builder.first_id..builder.next_id().0).map(TypeId) {
            let Some(record) = builder.record(id) else { continue };
            let (shape, references) = (&mut graph.shapes.words, &mut graph.references.words);
            let name = shape.len() + 1;
            shape.push(record.info());
            let words = record.kind.extra_words(record.count.into()).zip(record.words());
            let first = [(Word::Name, record.name), (record.kind.third(), record.size_or_type)];
            for (word, value) in first.into_iter().chain(words) {
                match word {
                    Word::Name => shape.push(text(value)),
                    Word::Type => references.push(value),
                    Word::Plain => shape.push(value),
                }
            }
            if matches!(record.kind, Kind::Var | Kind::Datasec) {
                shape.push(id.0);
            }
            let role = match (record.kind, record.count) {
                _ if record.name == 0 => Role::Neither,
                (Kind::Struct, _) => Role::Defines(Tag::Struct),
                (Kind::Union, _) => Role::Defines(Tag::Union),
                (Kind::Fwd, _) if record.flag => Role::Declares(Tag::Union),
                (Kind::Fwd, _) => Role::Declares(Tag::Struct),
                (Kind::Enum | Kind::Enum64, 0) => Role::Declares(Tag::Enum),
                (Kind::Enum | Kind::Enum64, _) => Role::Defines(Tag::Enum),
                _ => Role::Neither,
            };
            graph.names.push((role, shape[name]));
            graph.shapes.end();
            graph.references.end();
        }
        graph
    }

    /// For each type, itself, or the definition of what it only declares.
    fn definitions(&self) -> Vec<u32> {
        // Definitions are the same here that differ in nothing but definitions of what they refer to
        // by name: those are looked at by themselves.
        let classes = self.classes(|to| match self.names[to as usize] {
            (Role::Defines(tag) | Role::Declares(tag), name) => Token::Name(tag, name),
            (Role::Neither, _) => Token::Class(to),
        });
        // The first definition of each name; `None` where there are several.
        let mut known: HashMap<(Tag, u32), Option<u32>> = HashMap::new();
        for (index, &(role, name)) in self.names.iter().enumerate() {
            if let Role::Defines(tag) = role {
                let first = known.entry((tag, name)).or_insert(Some(index as u32));
                *first = first.filter(|&first| classes[first as usize] == classes[index]);
            }
        }
        let definition = |(index, &(role, name)): (usize, &(Role, u32))| {
            match role {
                Role::Declares(tag) => known.get(&(tag, name)).copied().flatten(),
                _ => None,
            }
            .unwrap_or(index as u32)
        };
        self.names.iter().enumerate().map(definition).collect()
    }

    /// The class of each type, which is the place of the first that is the same. What a type refers
    /// to counts by its token.
    fn classes(&self, token: impl Fn(u32) -> Token) -> Vec<u32> {
        // A key that nobody knows: what has the same hash is the same.
        let keys = [RandomState::new(), RandomState::new()];
        let mut classes = classed(self.names.len(), |index| self.shapes.get(index));
        let mut count = distinct(&classes);
        for _ in 0..MAX_ROUNDS {
            let signatures = classes.iter().enumerate().map(|(index, class)| {
                let references = self.references.get(index);
                let mut hashers = [keys[0].build_hasher(), keys[1].build_hasher()];
                for &id in references {
                    let words = match id.checked_sub(self.first_id) {
                        // One of the base's, or `void`.
                        None => [0, id, 0],
                        Some(own) if own as usize >= classes.len() => [1, id, 0],
                        Some(own) => match token(own) {
                            Token::Class(own) => [2, classes[own as usize], 0],
                            Token::Name(tag, name) => [3, tag as u32, name],
                        },
                    };
                    for hasher in &mut hashers {
                        words.iter().for_each(|&word| hasher.write_u32(word));
                    }
                }
                (*class, hashers.map(|hasher| hasher.finish()))
            });
            let signatures: Vec<_> = signatures.collect();
            classes = classed(signatures.len(), |index| signatures[index]);
            let finer_count = distinct(&classes);
            if finer_count == count {
                return classes;
            }
            count = finer_count;
        }
        (0..classes.len() as u32).collect()
    }
}

/// For each item, the place of the first that is equal to it.
fn classed<T: Ord>(count: usize, item: impl Fn(usize) -> T) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_unstable_by_key(|&index| (item(index as usize), index));
    let mut classes = vec![0; count];
    for equal in order.chunk_by(|&one, &other| item(one as usize) == item(other as usize)) {
        equal.iter().for_each(|&index| classes[index as usize] = equal[0]);
    }
    classes
}

/// How many classes there are.
fn distinct(classes: &[u32]) -> usize {
    classes.iter().enumerate().filter(|&(index, &class)| index == class as usize).count()
}
