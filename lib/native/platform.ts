/** Whether this Node, on Linux, runs on musl and not on glibc. Answered without the network interfaces, which can take seconds to list. */
function isMusl(): boolean {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined
}

/** `linux-x64-glibc`, `linux-arm64-musl`, `darwin-arm64`: this machine, as the prebuilt addons name it. */
export function platformName(): string {
  const system = `${process.platform}-${process.arch}`
  if (process.platform !== 'linux') return system
  return `${system}-${isMusl() ? 'musl' : 'glibc'}`
}

/** The file of a platform's addon in prebuilds/. */
export function prebuildName(platform: string): string {
  return `hermes-${platform}.node`
}

/** The platforms whose addons are among these files. */
export function prebuiltPlatforms(files: readonly string[]): string[] {
  return files.flatMap((file) => /^hermes-(.+)\.node$/.exec(file)?.[1] ?? []).sort()
}
