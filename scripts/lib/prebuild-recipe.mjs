// What the prebuilt addons are and how each is compiled. Data only: all of it goes into the fingerprint of a prebuild, and CONTRIBUTING.md and
// docs/decisions/0010-prebuilds.md say why it is as it is.

/** The newest glibc symbol version that a prebuild may ask for. */
export const maxGlibc = '2.17'

/** One addon may be this large. A jump past it is a mistake: a library linked in, or symbols left inside. */
export const maxAddonBytes = 768 * 1024

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

/** Beside native/flags.txt. */
export const compileFlags = [
  '-DNAPI_VERSION=9',
  '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
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

/** By paths relative to the clone: no path of this machine gets into the result. */
export const includeFlags = [
  '-Inative',
  '-isystem',
  'node_modules/node-api-headers/include',
  '-isystem',
  'node_modules/node-addon-api',
]

export const linkFlags = [
  '-shared',
  // Of the C++ library, which Zig compiles from its sources.
  '-O3',
  '-pthread',
  '-Wl,--version-script=native/exports.map',
  '-Wl,--gc-sections',
  '-Wl,--build-id=none',
  // Node unloads an addon with the last worker thread that had loaded it, and the process's background threads run on.
  '-Wl,-z,nodelete',
  '-s',
]
