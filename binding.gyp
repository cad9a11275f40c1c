# native/sources.txt and native/flags.txt feed this build and CMakeLists.txt alike: add a file or a flag there.
{
  "targets": [
    {
      "target_name": "hermes",
      "sources": ["<!@(node scripts/lib/list-lines.mjs native/sources.txt native/)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS"],
      "cflags_cc": ["<!@(node scripts/lib/list-lines.mjs native/flags.txt)"],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "MACOSX_DEPLOYMENT_TARGET": "12.0",
        "OTHER_CPLUSPLUSFLAGS": ["<!@(node scripts/lib/list-lines.mjs native/flags.txt)"]
      },
      "libraries": ["-pthread"],
      "conditions": [
        ["OS=='linux'", {"ldflags": ["-Wl,--version-script=<(module_root_dir)/native/exports.map", "-Wl,--gc-sections", "-Wl,-z,nodelete"]}]
      ]
    }
  ]
}
