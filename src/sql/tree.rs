//! A generic picture of a parse tree that visits every field of every node by construction: pg_query's types derive
//! `serde::Serialize`, and [`Tree`] is what a serializer sees. The seal compares these.
//!
//! In: any pg_query value. Out: [`Tree`]. Must never: skip a field.

use super::NodeEnum;
use crate::error::Refusal;
use compact_str::CompactString;
use serde::ser::{self, Serialize};

/// A value as serde sees it.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `None`, or unit.
    Nothing,
    /// Boolean.
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// Text.
    Text(CompactString),
    /// A list.
    List(Vec<Tree>),
    /// A node: its type's name and fields in order.
    Node(&'static str, Vec<(&'static str, Tree)>),
    /// A one-of: the variant's name and its value.
    Variant(&'static str, Box<Tree>),
}

impl Tree {
    /// The picture of a value.
    ///
    /// # Errors
    /// XX000 when a value has a shape this picture cannot hold: none of pg_query's does.
    pub fn of<T: Serialize>(value: &T) -> Result<Tree, Refusal> {
        value.serialize(Painter).map_err(|_| Refusal::internal("a parse tree could not be compared"))
    }

    /// The field of a node.
    pub fn field(&self, name: &str) -> Option<&Tree> {
        match self {
            Tree::Node(_, fields) => fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v),
            Tree::Variant(_, inner) => inner.field(name),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) | Tree::List(_) => None,
        }
    }

    /// Follows the wrapper `Node { node: Some(Variant(kind, …)) }` of pg_query to its kind and payload.
    pub fn unwrap_node(&self) -> Option<(&'static str, &Tree)> {
        match self {
            Tree::Node("Node", fields) => match fields.first() {
                Some((_, Tree::Variant(kind, inner))) => Some((kind, inner)),
                _ => None,
            },
            Tree::Variant(kind, inner) => Some((kind, inner)),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) | Tree::List(_) | Tree::Node(..) => None,
        }
    }

    /// Calls `visit` for this value and everything below it.
    pub fn each(&self, visit: &mut dyn FnMut(&Tree)) {
        visit(self);
        match self {
            Tree::List(items) => items.iter().for_each(|i| i.each(visit)),
            Tree::Node(_, fields) => fields.iter().for_each(|(_, v)| v.each(visit)),
            Tree::Variant(_, inner) => inner.each(visit),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => {}
        }
    }

    /// Text of a `Text`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Equality but for places: fields that only say where something stood in a text.
    pub fn same_but_places(&self, other: &Tree) -> bool {
        const PLACES: [&str; 7] =
            ["location", "stmt_location", "stmt_len", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end"];
        match (self, other) {
            (Tree::Node(a, x), Tree::Node(b, y)) => {
                let equal = |((n, x), (m, y)): (&(&str, Tree), &(&str, Tree))| {
                    n == m && (PLACES.contains(n) || x.same_but_places(y))
                };
                a == b && x.len() == y.len() && x.iter().zip(y).all(equal)
            }
            (Tree::List(x), Tree::List(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.same_but_places(y)),
            (Tree::Variant(a, x), Tree::Variant(b, y)) => a == b && x.same_but_places(y),
            (x, y) => x == y,
        }
    }

    /// The texts of a list of String nodes: the parts of a qualified name.
    pub fn strings(&self) -> Vec<&str> {
        self.as_list().iter().filter_map(|n| n.unwrap_node()?.1.field("sval")?.as_text()).collect()
    }

    /// Items of a `List`.
    pub fn as_list(&self) -> &[Tree] {
        match self {
            Tree::List(items) => items,
            _ => &[],
        }
    }
}

/// A statement, or what holds one, that nobody changes any more, with its picture.
#[derive(Debug)]
pub struct Pictured<'n> {
    node: &'n NodeEnum,
    picture: Tree,
}

impl<'n> Pictured<'n> {
    /// Paints it.
    ///
    /// # Errors
    /// As [`Tree::of`].
    pub fn of(node: &'n NodeEnum) -> Result<Self, Refusal> {
        Ok(Self { node, picture: Tree::of(node)? })
    }

    /// The node.
    pub fn node(&self) -> &'n NodeEnum {
        self.node
    }

    /// Its picture.
    pub fn picture(&self) -> &Tree {
        &self.picture
    }
}

/// A shape the picture cannot hold.
#[derive(Debug)]
pub struct Unpaintable;

impl std::fmt::Display for Unpaintable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unexpected shape")
    }
}
impl std::error::Error for Unpaintable {}
impl ser::Error for Unpaintable {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Unpaintable
    }
}

struct Painter;
struct ListPainter(Vec<Tree>);
struct NodePainter(&'static str, Vec<(&'static str, Tree)>);

type Painted = Result<Tree, Unpaintable>;

impl ser::Serializer for Painter {
    type Ok = Tree;
    type Error = Unpaintable;
    type SerializeSeq = ListPainter;
    type SerializeTuple = ser::Impossible<Tree, Unpaintable>;
    type SerializeTupleStruct = ser::Impossible<Tree, Unpaintable>;
    type SerializeTupleVariant = ser::Impossible<Tree, Unpaintable>;
    type SerializeMap = ser::Impossible<Tree, Unpaintable>;
    type SerializeStruct = NodePainter;
    type SerializeStructVariant = ser::Impossible<Tree, Unpaintable>;

    fn serialize_bool(self, v: bool) -> Painted {
        Ok(Tree::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Painted {
        Ok(Tree::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Painted {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Painted {
        i64::try_from(v).map(Tree::Int).map_err(|_| Unpaintable)
    }
    fn serialize_f32(self, _: f32) -> Painted {
        Err(Unpaintable)
    }
    fn serialize_f64(self, _: f64) -> Painted {
        Err(Unpaintable)
    }
    fn serialize_char(self, _: char) -> Painted {
        Err(Unpaintable)
    }
    fn serialize_str(self, v: &str) -> Painted {
        Ok(Tree::Text(v.into()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Painted {
        Err(Unpaintable)
    }
    fn serialize_none(self) -> Painted {
        Ok(Tree::Nothing)
    }
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Painted {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Painted {
        Ok(Tree::Nothing)
    }
    fn serialize_unit_struct(self, name: &'static str) -> Painted {
        Ok(Tree::Node(name, Vec::new()))
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Painted {
        Ok(Tree::Variant(variant, Box::new(Tree::Nothing)))
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Painted {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Painted {
        Ok(Tree::Variant(variant, Box::new(value.serialize(Painter)?)))
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<ListPainter, Unpaintable> {
        Ok(ListPainter(Vec::with_capacity(len.unwrap_or(0))))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unpaintable> {
        Err(Unpaintable)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unpaintable> {
        Err(Unpaintable)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unpaintable> {
        Err(Unpaintable)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unpaintable> {
        Err(Unpaintable)
    }
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<NodePainter, Unpaintable> {
        Ok(NodePainter(name, Vec::with_capacity(len)))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unpaintable> {
        Err(Unpaintable)
    }
}

impl ser::SerializeSeq for ListPainter {
    type Ok = Tree;
    type Error = Unpaintable;
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unpaintable> {
        self.0.push(value.serialize(Painter)?);
        Ok(())
    }
    fn end(self) -> Painted {
        Ok(Tree::List(self.0))
    }
}

impl ser::SerializeStruct for NodePainter {
    type Ok = Tree;
    type Error = Unpaintable;
    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), Unpaintable> {
        self.1.push((key, value.serialize(Painter)?));
        Ok(())
    }
    fn end(self) -> Painted {
        Ok(Tree::Node(self.0, self.1))
    }
}
