//! `#[derive(Trace)]` for the typed objects of gc-runtime; use it from there.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Result, parse_macro_input};

/// The most fields of a typed object: the heap keeps a bit for each.
const MAX_FIELDS: usize = 64;

/// Makes a struct the description of a kind of heap object.
///
/// Each field is one word: a number, a `bool`, a `char`, a `Ref` or a `Weak`. For a field `next` the
/// type gets a constant `NEXT` to read and write it with. See the module `gc_runtime::typed`.
#[proc_macro_derive(Trace)]
pub fn derive_trace(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    if !input.generics.params.is_empty() {
        let message = "an object's layout is fixed: no type, lifetime or const parameters";
        return Err(Error::new(input.generics.span(), message));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            name.span(),
            "objects are structs; tell kinds apart by their types",
        ));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(name.span(), "fields need names: they become constants"));
    };
    if fields.named.len() > MAX_FIELDS {
        let message = format!("an object has at most {MAX_FIELDS} fields");
        return Err(Error::new(fields.span(), message));
    }
    let (mut constants, mut strong, mut weak, mut reads) = (vec![], vec![], vec![], vec![]);
    for (field, word) in fields.named.iter().zip(1u32..) {
        let ident = field.ident.as_ref().expect("named fields have names");
        let (visibility, kind) = (&field.vis, &field.ty);
        let constant =
            format_ident!("{}", ident.to_string().trim_start_matches("r#").to_uppercase());
        let bit = word - 1;
        let doc = format!("The field `{ident}`.");
        constants.push(quote! {
            #[doc = #doc]
            #visibility const #constant: ::gc_runtime::typed::Field<Self, #kind> =
                ::gc_runtime::typed::Field::at(#word);
        });
        let of_kind = quote!(<#kind as ::gc_runtime::typed::FieldType>);
        strong.push(quote!(#of_kind::STRONG << #bit));
        weak.push(quote!(#of_kind::WEAK << #bit));
        reads.push(quote!(let _ = &object.#ident;));
    }
    let (count, text) = (u32::try_from(fields.named.len()).expect("at most 64"), name.to_string());
    Ok(quote! {
        #[automatically_derived]
        impl ::gc_runtime::typed::Trace for #name {
            fn info() -> &'static ::gc_runtime::typed::TypeInfo {
                static INFO: ::gc_runtime::typed::TypeInfo = ::gc_runtime::typed::TypeInfo::new(
                    #text,
                    #count,
                    0 #(| #strong)*,
                    0 #(| #weak)*,
                );
                // The struct only describes: nobody makes one.
                let _ = |object: &Self| { #(#reads)* };
                &INFO
            }
        }

        #[automatically_derived]
        #[allow(dead_code, reason = "not every field is used by its constant")]
        impl #name {
            #(#constants)*
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(item: &str) -> String {
        expand(&syn::parse_str(item).expect("an item")).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_be_laid_out_is_refused_with_the_reason() {
        assert!(message("struct Generic<T> { a: Ref<T> }").contains("parameters"));
        assert!(message("enum Either { A, B }").contains("structs"));
        assert!(message("struct Unnamed(u64);").contains("names"));
        let fields: String = (0..65).map(|number| format!("f{number}: u64,")).collect();
        assert!(message(&format!("struct Large {{ {fields} }}")).contains("64 fields"));
    }

    #[test]
    fn each_field_gets_a_constant_of_its_type_and_visibility() {
        let item = "struct Link { pub next: Ref<Link>, r#type: u64 }";
        let text = expand(&syn::parse_str(item).expect("an item")).expect("laid out").to_string();
        assert!(text.contains("pub const NEXT"), "{text}");
        assert!(text.contains("const TYPE"), "{text}");
    }
}
