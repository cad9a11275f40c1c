#!/usr/bin/env node
import { run } from './program.js'

// The only place that ends the process: stdin may still be open, and would keep it alive.
process.exit(await run(process.argv.slice(2), process))
