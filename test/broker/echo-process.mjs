// Says what it hears: what a round trip takes on this machine without a broker. Prints its port.
import { createServer } from 'node:net'

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {})
  socket.pipe(socket)
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
