//! Queues, stacks and bloom filters: maps without keys.

use std::marker::PhantomData;

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::Result;

macro_rules! keyless {
    ($(#[$doc:meta])* $name:ident, $map_type:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<'l, V> {
            map: Map<'l>,
            types: PhantomData<fn() -> V>,
        }

        impl<'l, V: Plain> View<'l> for $name<'l, V> {
            fn of(map: Map<'l>) -> Result<Self> {
                map.check(&[MapType::$map_type], Some(0), Some(size_of::<V>()))?;
                Ok($name { map, types: PhantomData })
            }
        }

        impl<V: Plain> $name<'_, V> {
            /// Adds a value. Fails with `E2BIG` when there is no room.
            pub fn push(&self, value: &V) -> Result<()> {
                let value = value.as_bytes();
                Ok(self.map.kernel.map_update(self.map.fd, &[], value, UpdateFlag::Any)?)
            }

            /// The map behind the view.
            pub fn map(&self) -> &Map<'_> {
                &self.map
            }
        }
    };
}

keyless! {
    /// `BPF_MAP_TYPE_QUEUE`: what was pushed first comes out first.
    Queue, Queue
}
keyless! {
    /// `BPF_MAP_TYPE_STACK`: what was pushed last comes out first.
    Stack, Stack
}
keyless! {
    /// `BPF_MAP_TYPE_BLOOM_FILTER`: programs ask it whether a value was ever pushed.
    BloomFilter, BloomFilter
}

macro_rules! takes {
    ($name:ident) => {
        impl<V: Plain> $name<'_, V> {
            /// Takes the next value out.
            pub fn pop(&self) -> Result<Option<V>> {
                let value = self.map.kernel.map_take(self.map.fd, &[])?;
                value.map(|bytes| self.map.decode(&bytes)).transpose()
            }

            /// The next value, which stays.
            pub fn peek(&self) -> Result<Option<V>> {
                self.map.lookup(&[])
            }
        }
    };
}

takes!(Queue);
takes!(Stack);
