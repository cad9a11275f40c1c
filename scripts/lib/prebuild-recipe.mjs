// What the prebuilt addons are and how each is compiled. Data only: all of it goes into the fingerprint of a prebuild, and CONTRIBUTING.md and
// docs/decisions/0010-prebuilds.md say why it is as it is.

/** The newest glibc symbol version that a prebuild may ask for. */
export const maxGlibc = '2.17'

/** One addon may be this large. A jump past it is a mistake: a library linked in, or symbols left inside. */
export const maxAddonBytes = 640 * 1024

/** Libraries that every machine of the kind has. Nothing else may be asked for: above all no C++ library. */
const ofGlibc = ['libc.so.6', 'libdl.so.2', 'libm.so.6', 'libpthread.so.0', 'librt.so.1']
// musl's loader answers for this name itself, whatever file it is.
const ofMusl = ['libc.so']

/**
 * `zig` is the compiler's name of the target, `cpu` the oldest processor that runs the result: newer instructions are used by functions of
 * their own, chosen at run time. `evex512` adds none: it allows such functions to use 512-bit registers.
 */
export const targets = [
  {
    name: 'linux-x64-glibc',
    zig: `x86_64-linux-gnu.${maxGlibc}`,
    cpu: 'x86_64+evex512',
    machine: 'x86-64',
    libraries: [...ofGlibc, 'ld-linux-x86-64.so.2'],
  },
  {
    name: 'linux-x64-musl',
    zig: 'x86_64-linux-musl',
    cpu: 'x86_64+evex512',
    machine: 'x86-64',
    libraries: ofMusl,
  },
  {
    name: 'linux-arm64-glibc',
    zig: `aarch64-linux-gnu.${maxGlibc}`,
    cpu: 'generic',
    machine: 'aarch64',
    libraries: [...ofGlibc, 'ld-linux-aarch64.so.1'],
  },
  {
    name: 'linux-arm64-musl',
    zig: 'aarch64-linux-musl',
    cpu: 'generic',
    machine: 'aarch64',
    libraries: ofMusl,
  },
]

/** Of everything inside. */
const commonFlags = [
  '-fPIC',
  '-fomit-frame-pointer',
  '-ffunction-sections',
  '-fdata-sections',
  // Zig's default checks for undefined behaviour; the suite native-asan does that.
  '-fno-sanitize=all',
  // Nothing of the machine, the day or the compiler's build in the result.
  '-g0',
  '-fno-ident',
  '-Werror=date-time',
  // The suite native judges warnings.
  '-w',
]

/** Beside native/flags.txt. */
export const compileFlags = ['-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS', ...commonFlags]

/** By paths relative to the clone: no path of this machine gets into the result. */
export const includeFlags = [
  '-Inative',
  '-isystem',
  'node_modules/node-api-headers/include',
  '-isystem',
  'node_modules/node-addon-api',
]

/**
 * What the addon needs of LLVM's C++ library that is not in its headers, as files of the compiler's package. Compiled here, as the addon is:
 * without exceptions and what belongs to them, in a fifth of the time that the whole takes, and 200 KiB smaller.
 *
 * If the check says that an addon lacks a name of the C++ library, the file that defines it is missing here.
 */
export const runtimeSources = [
  ...['algorithm', 'chrono', 'condition_variable', 'condition_variable_destructor', 'hash', 'memory', 'mutex'],
  ...['mutex_destructor', 'new_handler', 'string', 'system_error', 'thread', 'verbose_abort'],
]
  .map((name) => `libcxx/src/${name}.cpp`)
  .concat(
    [
      'abort_message',
      'cxa_default_handlers',
      'cxa_guard',
      'cxa_handlers',
      'cxa_noexception',
      'cxa_virtual',
      'stdlib_new_delete',
    ].map((name) => `libcxxabi/src/${name}.cpp`),
  )

/** As LLVM compiles its library for static linking. */
export const runtimeFlags = [
  '-std=c++23',
  '-O3',
  '-fvisibility=hidden',
  '-fno-exceptions',
  '-fno-rtti',
  '-DNDEBUG',
  '-D_LIBCPP_BUILDING_LIBRARY',
  '-D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS',
  '-D_LIBCXXABI_BUILDING_LIBRARY',
  '-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS',
  '-DLIBCXX_BUILDING_LIBCXXABI',
  '-DLIBCXXABI_NON_DEMANGLING_TERMINATE',
  // In place of overridable_function.h: nothing in here replaces operator new, and the bounds of the section by which it would notice are visible.
  '-D_LIBCPP_SRC_INCLUDE_OVERRIDABLE_FUNCTION_H',
  '-D_LIBCPP_CAN_DETECT_OVERRIDDEN_FUNCTION=0',
  '-D_LIBCPP_OVERRIDABLE_FUNCTION(type, name, arguments)=_LIBCPP_WEAK type name arguments',
  ...commonFlags,
]

/** Of the runtime, as folders of the compiler's package. */
export const runtimeIncludes = ['libcxx/src', 'libcxx/libc']

export const linkFlags = [
  '-shared',
  '-O3',
  // Not the whole C++ library: see runtimeSources.
  '-nostdlib++',
  '-pthread',
  '-Wl,--version-script=native/exports.map',
  '-Wl,--gc-sections',
  '-Wl,--build-id=none',
  // Node unloads an addon with the last worker thread that had loaded it, and the process's background threads run on.
  '-Wl,-z,nodelete',
  '-s',
]
