//! Which symbol of which object is which symbol of the result.

use std::collections::HashMap;

use object::elf;

use super::Input;
use crate::elf::Place;
use crate::error::{Error, Result};
use crate::image::{Image, Symbol};

/// The symbols of all objects.
pub(super) struct Symbols<'a> {
    /// By object and symbol: its number in the result, if it is part of it.
    pub(super) numbers: Vec<Vec<Option<usize>>>,
    /// The object that defines a global symbol.
    pub(super) definer: HashMap<&'a str, usize>,
}

impl<'a> Symbols<'a> {
    /// Adds all symbols to the result.
    pub(super) fn resolve(image: &mut Image, inputs: &[Input<'a>]) -> Result<Symbols<'a>> {
        // Each section has a symbol of its own, by which static functions are named.
        let first = image.symbols.len();
        image.symbols.extend((0..image.sections.len()).map(Symbol::of_section));
        let mut symbols = Symbols { numbers: Vec::new(), definer: HashMap::new() };
        let mut globals = HashMap::new();
        for (number, input) in inputs.iter().enumerate() {
            let mut numbers = Vec::with_capacity(input.elf.symbols.len());
            for symbol in &input.elf.symbols {
                let place = match symbol.place {
                    Place::Section(index) => input.places.get(index).copied().flatten(),
                    _ => None,
                };
                numbers.push(match (symbol.kind, place) {
                    (elf::STT_SECTION, Some((section, _))) => Some(first + section),
                    _ if symbol.global && !symbol.name.is_empty() => {
                        symbols.global(image, &mut globals, inputs, number, symbol, place)?
                    }
                    (elf::STT_FILE | elf::STT_SECTION, _) | (_, None) => None,
                    (_, Some((section, start))) => {
                        image.symbols.push(Symbol {
                            name: symbol.name.to_owned(),
                            section: Some(section),
                            value: symbol.value.wrapping_add(start),
                            size: symbol.size,
                            kind: symbol.kind,
                            bind: elf::STB_LOCAL,
                            hidden: false,
                        });
                        Some(image.symbols.len() - 1)
                    }
                });
            }
            symbols.numbers.push(numbers);
        }
        Ok(symbols)
    }

    /// Unites a global symbol with those of the same name.
    fn global(
        &mut self,
        image: &mut Image,
        globals: &mut HashMap<&'a str, usize>,
        inputs: &[Input<'a>],
        input: usize,
        symbol: &crate::elf::Symbol<'a>,
        place: Option<(usize, u64)>,
    ) -> Result<Option<usize>> {
        // The licence of a second object is no part of the result.
        if place.is_none() && symbol.place != Place::Undefined {
            return Ok(None);
        }
        let mut new = Symbol {
            name: symbol.name.to_owned(),
            section: place.map(|(section, _)| section),
            value: symbol.value.wrapping_add(place.map_or(0, |(_, start)| start)),
            size: symbol.size,
            kind: symbol.kind,
            bind: if symbol.weak { elf::STB_WEAK } else { elf::STB_GLOBAL },
            hidden: symbol.hidden,
        };
        let Some(&number) = globals.get(symbol.name) else {
            if place.is_some() {
                self.definer.insert(symbol.name, input);
            }
            globals.insert(symbol.name, image.symbols.len());
            image.symbols.push(new);
            return Ok(Some(image.symbols.len() - 1));
        };
        let known = &mut image.symbols[number];
        let hidden = known.hidden || new.hidden;
        match (known.section, new.section) {
            (Some(_), Some(_)) => {
                if known.bind != elf::STB_WEAK && new.bind != elf::STB_WEAK {
                    let first =
                        self.definer.get(symbol.name).map_or("", |&first| inputs[first].name);
                    let reason = format!("it is defined in {first} and in {}", inputs[input].name);
                    return Err(Error::new(reason)
                        .at(symbol.name)
                        .help("make one of them static, or `__weak`"));
                }
                if known.kind != new.kind {
                    return Err(Error::new(
                        "it is a function in one object and a variable in another",
                    )
                    .at(symbol.name));
                }
                if new.bind != elf::STB_WEAK {
                    self.definer.insert(symbol.name, input);
                    *known = new;
                }
            }
            (None, Some(_)) => {
                self.definer.insert(symbol.name, input);
                *known = new;
            }
            (Some(_), None) => {}
            (None, None) => {
                // It has to be there as soon as one object needs it.
                new.bind = if known.bind == elf::STB_WEAK { new.bind } else { known.bind };
                known.bind = new.bind;
            }
        }
        known.hidden = hidden;
        Ok(Some(number))
    }
}
