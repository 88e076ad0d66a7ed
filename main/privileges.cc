#include "main/privileges.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/log.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHUFFLEFS_LEAK_SANITIZER 1
#endif
#endif

namespace shufflefs {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

// Of the kernel itself, of other processes' memory, of the machine's identity and time: nothing
// that a file system does.
constexpr std::array kRefused = {
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_pivot_root,
    SYS_chroot,
    SYS_userfaultfd,
    SYS_acct,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_syslog,
    SYS_kcmp,
    SYS_setns,
    SYS_vhangup,
    SYS_quotactl,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
#if !defined(SHUFFLEFS_LEAK_SANITIZER)
    SYS_ptrace,
#endif
};

void could_not(const char* what) {
  log_warning("serve.privileges_kept", {{"what", what}, {"reason", std::strerror(errno)}});
}

void keep_capabilities(bool changes_network) {
  std::vector<int> needed = needed_capabilities();
  if (changes_network) needed.push_back(CAP_NET_ADMIN);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return could_not("capabilities");
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (std::ranges::find(needed, capability) != needed.end()) continue;
    // Fails for what this kernel does not know, or this container does not have.
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    const auto place = static_cast<std::size_t>(capability) / 32;
    const uint32_t others = ~(uint32_t{1} << (static_cast<unsigned>(capability) % 32U));
    sets.at(place).effective &= others;
    sets.at(place).permitted &= others;
    sets.at(place).inheritable &= others;
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (::syscall(SYS_capset, &header, sets.data()) != 0) could_not("capabilities");
}

void filter_system_calls() {
  const auto load = [](std::size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  std::vector<sock_filter> program = {
      load(offsetof(seccomp_data, arch)),
      // Another calling convention has other numbers: none of ours uses one.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      load(offsetof(seccomp_data, nr)),
  };
  for (const long number : kRefused) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
    could_not("the filter of system calls");
}

}  // namespace

const std::vector<int>& needed_capabilities() {
  static const std::vector<int> needed = {
      CAP_SYS_ADMIN,        // mount, backing files of the passthrough, private mounts
      CAP_DAC_OVERRIDE,     // users' files, whatever their modes: the kernel has checked the caller
      CAP_DAC_READ_SEARCH,  // files by handle
      CAP_CHOWN,            // files belong to who makes them
      CAP_FOWNER,           // chmod, utimes and attributes of users' files
      CAP_FSETID,           // setgid bits
      CAP_SETUID,           // acting as the caller
      CAP_SETGID,           //
      CAP_SETFCAP,          // file capabilities that root sets through the mount
      CAP_MKNOD,            // FIFOs and devices that root makes through the mount
      CAP_LINUX_IMMUTABLE,  // flags that root sets through the mount
      CAP_SYS_RESOURCE,     // the limit of descriptors; quota and reserved blocks for root
      CAP_SETPCAP,          // giving up capabilities thread by thread (fs/caller.h)
      CAP_IPC_LOCK,         // secrets that are not swapped out
      CAP_NET_BIND_SERVICE,  // ports below 1024
  };
  return needed;
}

void give_up_privileges(bool changes_network) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) could_not("no_new_privs");
  keep_capabilities(changes_network);
  filter_system_calls();
}

}  // namespace shufflefs
