//! Tracepoints by their types: which arguments may be null or an error, which tracepoints may sleep
//! (`kernel/bpf/btf.c`, Linux 7.3).

/// What a tracepoint's argument may be beside a pointer to its structure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TracepointArgument {
    /// Null.
    MaybeNull,
    /// An error as a pointer: programs get a number.
    MaybeError,
}

macro_rules! tracepoints {
    ($($name:ident {$($argument:literal: $kind:ident),*};)*) => {
        /// Tracepoints with such arguments, by number from 0 (`raw_tp_null_args`).
        const ROWS: &[(&str, &[(u8, TracepointArgument)])] = &[
            $((stringify!($name), &[$(($argument, TracepointArgument::$kind)),*])),*
        ];
    };
}

/// What an argument of a tracepoint, counted from 0, may be. `None` for a tracepoint that no row is
/// for: then those of modules may have null anywhere.
pub fn tracepoint_argument(name: &str, argument: u8) -> Option<Option<TracepointArgument>> {
    let (_, row) = ROWS.iter().find(|(row, _)| *row == name)?;
    Some(row.iter().find(|(number, _)| *number == argument).map(|(_, kind)| *kind))
}

/// Whether programs at a tracepoint may sleep (`tracepoint_is_faultable`): those of system calls.
pub fn tracepoint_sleeps(name: &str) -> bool {
    matches!(name, "sys_enter" | "sys_exit")
}

tracepoints! {
    sched_pi_setprio {1: MaybeNull};
    sched_process_wait {0: MaybeNull};
    sched_stick_numa {2: MaybeNull};
    sched_swap_numa {2: MaybeNull};
    afs_make_fs_call {1: MaybeNull};
    afs_make_fs_calli {1: MaybeNull};
    afs_make_fs_call1 {1: MaybeNull};
    afs_make_fs_call2 {1: MaybeNull};
    afs_protocol_error {0: MaybeNull};
    afs_flock_ev {1: MaybeNull};
    cachefiles_lookup {0: MaybeNull, 2: MaybeError};
    cachefiles_unlink {0: MaybeNull};
    cachefiles_rename {0: MaybeNull};
    cachefiles_prep_read {0: MaybeNull};
    cachefiles_mark_active {0: MaybeNull};
    cachefiles_mark_failed {0: MaybeNull};
    cachefiles_mark_inactive {0: MaybeNull};
    cachefiles_vfs_error {0: MaybeNull};
    cachefiles_io_error {0: MaybeNull};
    ext4_mballoc_discard {1: MaybeNull};
    ext4_mballoc_free {1: MaybeNull};
    fib_table_lookup {2: MaybeNull};
    posix_lock_inode {1: MaybeNull};
    fcntl_setlk {1: MaybeNull};
    locks_remove_posix {1: MaybeNull};
    flock_lock_inode {1: MaybeNull};
    break_lease_noblock {1: MaybeNull};
    break_lease_block {1: MaybeNull};
    break_lease_unblock {1: MaybeNull};
    generic_delete_lease {1: MaybeNull};
    time_out_leases {1: MaybeNull};
    host1x_cdma_push_gather {4: MaybeNull};
    mm_khugepaged_scan_pmd {1: MaybeNull};
    mm_collapse_huge_page_isolate {0: MaybeNull};
    mm_khugepaged_scan_file {1: MaybeNull};
    mm_khugepaged_collapse_file {1: MaybeNull};
    mm_page_alloc {0: MaybeNull};
    mm_page_pcpu_drain {0: MaybeNull};
    mm_page_alloc_zone_locked {0: MaybeNull};
    netfs_failure {1: MaybeNull};
    device_pm_callback_start {1: MaybeNull};
    qdisc_dequeue {3: MaybeNull};
    rxrpc_recvdata {0: MaybeNull};
    rxrpc_resend {1: MaybeNull};
    rxrpc_tq {1: MaybeNull};
    rxrpc_client {0: MaybeNull};
    signal_generate {1: MaybeError};
    signal_deliver {1: MaybeError};
    kfree_skb {3: MaybeNull};
    xs_stream_read_data {0: MaybeNull};
    xprt_reserve_cong {1: MaybeNull};
    xprt_release_cong {1: MaybeNull};
    xprt_get_cong {1: MaybeNull};
    xprt_put_cong {1: MaybeNull};
    tcp_send_reset {0: MaybeNull, 1: MaybeNull};
    tcp_sendmsg_locked {2: MaybeNull};
    tegra_dma_tx_status {2: MaybeNull};
    tmigr_update_events {0: MaybeNull};
    writeback_dirty_folio {1: MaybeNull};
    folio_wait_writeback {1: MaybeNull};
    mr_integ_alloc {3: MaybeError};
    bpf_testmod_test_read {};
    amdgpu_vm_bo_map {0: MaybeNull};
    amdgpu_vm_bo_unmap {0: MaybeNull};
    netfs_folioq {0: MaybeNull};
    xfs_defer_create_intent {0: MaybeNull};
    xfs_defer_cancel_list {0: MaybeNull};
    xfs_defer_pending_finish {0: MaybeNull};
    xfs_defer_pending_abort {0: MaybeNull};
    xfs_defer_relog_intent {0: MaybeNull};
    xfs_defer_isolate_paused {0: MaybeNull};
    xfs_defer_item_pause {0: MaybeNull};
    xfs_defer_item_unpause {0: MaybeNull};
    xfs_defer_add_item {0: MaybeNull};
    xfs_defer_cancel_item {0: MaybeNull};
    xfs_defer_finish_item {0: MaybeNull};
    xfs_ioc_free_eofblocks {1: MaybeNull};
    xfs_blockgc_free_space {1: MaybeNull};
    xfs_btree_updkeys {2: MaybeNull};
    xfs_btree_overlapped_query_range {2: MaybeNull};
    xfs_map_blocks_found {4: MaybeNull};
    xfs_map_blocks_alloc {4: MaybeNull};
    xfs_iomap_alloc {3: MaybeNull};
    xfs_iomap_found {3: MaybeNull};
    xfs_inodegc_flush {0: MaybeNull};
    xfs_inodegc_push {0: MaybeNull};
    xfs_inodegc_start {0: MaybeNull};
    xfs_inodegc_stop {0: MaybeNull};
    xfs_inodegc_queue {0: MaybeNull};
    xfs_inodegc_throttle {0: MaybeNull};
    xfs_fs_sync_fs {0: MaybeNull};
    xfs_blockgc_start {0: MaybeNull};
    xfs_blockgc_stop {0: MaybeNull};
    xfs_blockgc_worker {0: MaybeNull};
    xfs_blockgc_flush_all {0: MaybeNull};
    xchk_nlinks_live_update {1: MaybeNull};
    xchk_metapath_lookup {2: MaybeNull};
    nfsd_dirent {0: MaybeNull};
    nfsd_file_acquire {0: MaybeNull, 3: MaybeNull};
    nfsd_file_insert_err {0: MaybeNull};
    nfsd_file_cons_err {0: MaybeNull};
    nfs4_setup_sequence {0: MaybeNull};
    pnfs_update_layout {4: MaybeNull};
    nfs4_inode_callback_event {2: MaybeError};
    nfs4_inode_stateid_callback_event {2: MaybeError};
    pnfs_mds_fallback_pg_init_read {4: MaybeNull};
    pnfs_mds_fallback_pg_init_write {4: MaybeNull};
    pnfs_mds_fallback_pg_get_mirror_count {4: MaybeNull};
    pnfs_mds_fallback_read_done {4: MaybeNull};
    pnfs_mds_fallback_write_done {4: MaybeNull};
    pnfs_mds_fallback_read_pagelist {4: MaybeNull};
    pnfs_mds_fallback_write_pagelist {4: MaybeNull};
    coda_dec_pic_run {1: MaybeNull};
    coda_dec_pic_done {1: MaybeNull};
    cfg80211_scan_done {0: MaybeNull, 1: MaybeNull};
    rdev_set_coalesce {1: MaybeNull};
    cfg80211_report_wowlan_wakeup {2: MaybeNull};
    cfg80211_inform_bss_frame {2: MaybeNull};
    cfg80211_michael_mic_failure {4: MaybeNull};
    wiphy_work_queue {1: MaybeNull};
    wiphy_work_run {1: MaybeNull};
    wiphy_work_cancel {1: MaybeNull};
    wiphy_work_flush {1: MaybeNull};
    hugetlbfs_alloc_inode {1: MaybeNull};
    spufs_context {1: MaybeNull};
    kvm_page_fault_enter {2: MaybeNull};
    dpu_crtc_setup_mixer {2: MaybeNull};
    binder_transaction {2: MaybeNull};
    btree_path_free {2: MaybeNull};
    hfi1_sdma_progress {3: MaybeNull};
    iptfs_ingress_postq_event {3: MaybeNull};
    neigh_update {1: MaybeNull};
    amdtp_packet {2: MaybeNull};
}
