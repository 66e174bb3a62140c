//! Functions of the kernel that programs call by their types (kfuncs, `kernel/bpf/helpers.c`). They
//! are called as helpers are, by numbers behind those of helpers.

mod arena;
mod iterators;
mod lists;
mod objects;
mod sections;
mod streams;
mod strings;
mod trees;
mod work;

use bombus_vm::{Call, Execution, Return, TrapKind};

use super::Run;
use super::helpers::{Context, Implementation, failure, status};
pub(crate) use streams::Streams;

/// The number of the first.
const FIRST: i32 = 1 << 16;

macro_rules! kfuncs {
    ($($name:literal => $function:expr,)*) => {
        /// Every function there is, by the name in the kernel's types.
        static KFUNCS: &[(&str, Implementation)] = &[$(($name, $function),)*];
    };
}

kfuncs! {
    "bpf_strcmp" => strings::strcmp,
    "bpf_strcasecmp" => strings::strcasecmp,
    "bpf_strncasecmp" => strings::strncasecmp,
    "bpf_strchr" => strings::strchr,
    "bpf_strchrnul" => strings::strchrnul,
    "bpf_strnchr" => strings::strnchr,
    "bpf_strrchr" => strings::strrchr,
    "bpf_strlen" => strings::strlen,
    "bpf_strnlen" => strings::strnlen,
    "bpf_strspn" => strings::strspn,
    "bpf_strcspn" => strings::strcspn,
    "bpf_strstr" => strings::strstr,
    "bpf_strcasestr" => strings::strcasestr,
    "bpf_strnstr" => strings::strnstr,
    "bpf_strncasestr" => strings::strncasestr,
    "bpf_iter_num_new" => iterators::num_new,
    "bpf_iter_num_next" => iterators::num_next,
    "bpf_iter_num_destroy" => iterators::num_destroy,
    "bpf_iter_bits_new" => iterators::bits_new,
    "bpf_iter_bits_next" => iterators::bits_next,
    "bpf_iter_bits_destroy" => iterators::bits_destroy,
    "bpf_obj_new" => objects::new,
    "bpf_obj_new_impl" => objects::new,
    "bpf_obj_drop" => objects::drop,
    "bpf_obj_drop_impl" => objects::drop,
    "bpf_refcount_acquire" => objects::refcount_acquire,
    "bpf_refcount_acquire_impl" => objects::refcount_acquire,
    "bpf_list_push_front" => lists::push_front,
    "bpf_list_push_front_impl" => lists::push_front,
    "bpf_list_push_back" => lists::push_back,
    "bpf_list_push_back_impl" => lists::push_back,
    "bpf_list_add" => lists::add,
    "bpf_list_pop_front" => lists::pop_front,
    "bpf_list_pop_back" => lists::pop_back,
    "bpf_list_del" => lists::del,
    "bpf_list_front" => lists::front,
    "bpf_list_back" => lists::back,
    "bpf_list_is_first" => lists::is_first,
    "bpf_list_is_last" => lists::is_last,
    "bpf_list_empty" => lists::empty,
    "bpf_rbtree_add" => trees::add,
    "bpf_rbtree_add_impl" => trees::add,
    "bpf_rbtree_remove" => trees::remove,
    "bpf_rbtree_first" => trees::first,
    "bpf_rbtree_root" => trees::root,
    "bpf_rbtree_left" => trees::left,
    "bpf_rbtree_right" => trees::right,
    "bpf_arena_alloc_pages" => arena::alloc_pages,
    "bpf_arena_free_pages" => arena::free_pages,
    "bpf_arena_reserve_pages" => arena::reserve_pages,
    "bpf_rcu_read_lock" => sections::nothing,
    "bpf_rcu_read_unlock" => sections::nothing,
    "bpf_preempt_disable" => sections::nothing,
    "bpf_preempt_enable" => sections::nothing,
    "bpf_local_irq_save" => sections::irq_save,
    "bpf_local_irq_restore" => sections::nothing,
    "bpf_res_spin_lock" => sections::lock,
    "bpf_res_spin_unlock" => sections::unlock,
    "bpf_res_spin_lock_irqsave" => sections::lock_irqsave,
    "bpf_res_spin_unlock_irqrestore" => sections::unlock,
    "bpf_cast_to_kern_ctx" => sections::same,
    "bpf_rdonly_cast" => sections::same,
    "bpf_throw" => sections::throw,
    "bpf_wq_init" => work::wq_init,
    "bpf_wq_set_callback" => work::wq_set_callback,
    "bpf_wq_set_callback_impl" => work::wq_set_callback,
    "bpf_wq_start" => work::wq_start,
    "bpf_timer_cancel_async" => work::timer_cancel_async,
    "bpf_stream_vprintk" => streams::vprintk,
    "bpf_stream_print_stack" => streams::print_stack,
}

/// The number by which the function of this name is called.
pub(crate) fn kfunc_number(name: &str) -> Option<i32> {
    let place = KFUNCS.iter().position(|(known, _)| *known == name)?;
    Some(FIRST + place as i32)
}

/// Performs a call of one of these numbers.
#[cold]
pub(super) fn call(
    run: &mut Run<'_>,
    vm: &mut Execution<'_>,
    call: &Call<'_>,
) -> Result<Return, TrapKind> {
    let place = call.helper.checked_sub(FIRST).and_then(|place| usize::try_from(place).ok());
    let Some((name, function)) = place.and_then(|place| KFUNCS.get(place)) else {
        return Err(TrapKind::UnknownHelper(call.helper));
    };
    let name = name.strip_prefix("bpf_").unwrap_or(name);
    function(&mut Context { run, vm, call, name }).map(Return::Value)
}
