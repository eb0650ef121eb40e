import Glibc
import RocketMQBase

/// Writes log lines to standard error, on a thread of its own: a terminal or pipe that takes nothing must not hold up an event
/// loop. At most a megabyte waits; what comes beyond is left out, and the count of it is written.
public final class StandardErrorSink: LogSink {
    private struct Queue {
        var bytes: [UInt8] = []
        var leftOut = 0
        var isStopping = false
        var hasStopped = false
    }

    private static let mostWaiting = 1 << 20
    private let queue = Monitor(Queue())

    public init() {
        PlatformThread.start(name: "log") { [queue] in
            while let bytes = Self.next(queue) {
                // After a stop the rest is written as far as it is taken: the program must end.
                if !Self.write(bytes, giveUp: { queue.update { $0.isStopping } }) { break }
            }
            queue.update { $0.hasStopped = true }
        }
    }

    public func write(_ record: LogRecord) {
        let line = record.line
        queue.update { queue in
            guard !queue.isStopping else { return }
            guard queue.bytes.count + line.utf8.count < Self.mostWaiting else {
                queue.leftOut += 1
                return
            }
            queue.bytes.append(contentsOf: line.utf8)
            queue.bytes.append(UInt8(ascii: "\n"))
        }
    }

    /// Writes what waits and ends the thread; returns when it is done, or after a second in which nobody took it.
    public func stop() {
        queue.update { $0.isStopping = true }
        queue.wait { $0.hasStopped ? () : nil }
    }

    private static func next(_ queue: Monitor<Queue>) -> [UInt8]? {
        queue.wait { queue -> [UInt8]?? in
            if !queue.bytes.isEmpty {
                var bytes = queue.bytes
                queue.bytes = []
                if queue.leftOut > 0 { bytes += Array("(\(queue.leftOut) lines left out: they were not taken in time)\n".utf8) }
                queue.leftOut = 0
                return .some(bytes)
            }
            return queue.isStopping ? .some(nil) : nil
        }
    }

    /// Writes pieces that a pipe takes whole once it is writable, so that no write blocks. Returns whether to go on.
    private static func write(_ bytes: [UInt8], giveUp: () -> Bool) -> Bool {
        var start = 0
        while start < bytes.count {
            var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
            if poll(&descriptor, 1, 1000) <= 0 {
                if giveUp() { return false }
                continue
            }
            let count = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress! + start, min(512, $0.count - start)) }
            if count > 0 { start += count } else if errno != EINTR, errno != EAGAIN { return true }
        }
        return true
    }
}
