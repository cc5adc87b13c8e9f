#include "gpu.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>

namespace emulated_gpu {
namespace {

constexpr size_t kPage = 4096, kAlignment = 256;
constexpr unsigned char kCanary = 0xff;  // NaN as any float

std::map<const char*, Allocation> allocations;  // by their first page
std::map<int, size_t> used;
// Pages of what was freed stay reserved for a while, so that a use after it shows.
constexpr size_t kFreed = 1024;
std::deque<Allocation> freed;

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
char* first_page(const Allocation& a) { return a.pages + kPage; }
size_t open_bytes(const Allocation& a) { return a.page_bytes - 2 * kPage; }

void protect(const Allocation& a, int how) {
  if (mprotect(first_page(a), open_bytes(a), how) != 0) stop("mprotect: %s", std::strerror(errno));
}
void set_access(int how) {
  for (const auto& [start, a] : allocations)
    if (a.device != kPinned) protect(a, how);
}

void check_canary(const Allocation& a) {
  const auto check = [&](const char* from, const char* to) {
    for (const char* p = from; p < to; ++p)
      if (static_cast<unsigned char>(*p) != kCanary) stop("%s was written", describe(p).c_str());
  };
  check(first_page(a), a.data);
  check(a.data + a.bytes, first_page(a) + open_bytes(a));
}

}  // namespace

const Allocation* find(const void* p) {
  auto next = allocations.upper_bound(static_cast<const char*>(p));
  if (next == allocations.begin()) return nullptr;
  const Allocation& a = std::prev(next)->second;
  return p < a.pages + a.page_bytes ? &a : nullptr;
}

bool reaches(int device, const void* p, size_t bytes) {
  const Allocation* a = find(p);
  if (!a || (a->device != kPinned && a->device != device)) return false;
  const char* at = static_cast<const char*>(p);
  return at >= a->data && bytes <= a->bytes && at <= a->data + (a->bytes - bytes);
}

void* allocate(int device, size_t bytes) {
  if (device != kPinned && bytes > kMemory - used[device]) return nullptr;
  // Its end meets a page that cannot be touched as nearly as the alignment that CUDA promises lets it.
  const size_t own = round_up(bytes, kAlignment), pages = round_up(own, kPage) + 2 * kPage;
  void* const start = mmap(nullptr, pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  Allocation a{nullptr, bytes, device, static_cast<char*>(start), pages};
  a.data = first_page(a) + open_bytes(a) - own;
  protect(a, PROT_READ | PROT_WRITE);
  std::memset(first_page(a), kCanary, static_cast<size_t>(a.data - first_page(a)));
  std::memset(a.data + bytes, kCanary, own - bytes);
  if (device != kPinned) protect(a, PROT_NONE);
  used[device] += bytes;
  allocations[a.pages] = a;
  return a.data;
}

bool release(int device, void* data) {
  const Allocation* found = find(data);
  if (!found || found->data != data || (found->device == kPinned) != (device == kPinned)) return false;
  const Allocation a = *found;
  protect(a, PROT_READ | PROT_WRITE);
  check_canary(a);
  protect(a, PROT_NONE);
  madvise(first_page(a), open_bytes(a), MADV_DONTNEED);
  used[a.device] -= a.bytes;
  allocations.erase(a.pages);
  freed.push_back(a);
  if (freed.size() > kFreed) {
    munmap(freed.front().pages, freed.front().page_bytes);
    freed.pop_front();
  }
  return true;
}

size_t allocated(int device) { return used[device]; }

Access::Access() { set_access(PROT_READ | PROT_WRITE); }
Access::~Access() { set_access(PROT_NONE); }

std::string describe(const void* p) {
  const auto text = [&](const Allocation& a, const char* state) {
    const auto at = static_cast<const char*>(p) - a.data;
    return "byte " + std::to_string(at) + " of " + state + std::to_string(a.bytes) + " bytes " +
           (a.device == kPinned ? std::string("of pinned memory") : "on cuda:" + std::to_string(a.device));
  };
  if (const Allocation* a = find(p)) return text(*a, "");
  for (const Allocation& a : freed)
    if (p >= a.pages && p < a.pages + a.page_bytes) return text(a, "freed ");
  return "memory that is none of a GPU's";
}

// Any 8 bytes that are the address of mapped memory are taken for a pointer; padding has been cleared.
void check_parameters(int device, const void* kernel, const Parameter* parameters, size_t count) {
  for (size_t i = 0; i < count; ++i)
    for (size_t at = 0; at + sizeof(void*) <= parameters[i].bytes; at += sizeof(void*)) {
      uintptr_t word;
      std::memcpy(&word, static_cast<const char*>(parameters[i].data) + at, sizeof word);
      if (word < kPage << 4 || word >> 47 != 0) continue;
      void* const page = reinterpret_cast<void*>(word / kPage * kPage);
      const Allocation* a = find(reinterpret_cast<const void*>(word));
      if (a && (a->device == kPinned || a->device == device)) continue;
      unsigned char resident;
      if (!a && mincore(page, 1, &resident) != 0) continue;
      stop("kernel %s, on cuda:%d, is given a pointer that it cannot follow, in parameter %zu, byte %zu: %s",
           name_of_code(kernel).c_str(), device, i, at, describe(reinterpret_cast<const void*>(word)).c_str());
    }
}

}  // namespace emulated_gpu
