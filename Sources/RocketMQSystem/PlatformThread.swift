import CLinux
import Glibc
import RocketMQBase

/// A thread of our own, for event loops and blocking work.
enum PlatformThread {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a detached thread; `name` shows in `top -H`, at most 15 bytes of it.
    static func start(name: String, _ run: @escaping @Sendable () -> Void) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let body = Unmanaged.passRetained(Body(name: String(name.prefix(15)), run: run))
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                let body = Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
                clinux_name_thread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        precondition(code == 0, "cannot start a thread: \(systemText(code)); raise the limit on threads (ulimit -u)")
    }
}

/// A value guarded by a lock, with waiting for it to change: the one place where threads wait for each other.
///
/// `@unchecked Sendable` holds because `value` is touched only between `pthread_mutex_lock` and `unlock`, and because lock
/// and condition live in allocations that never move.
package final class Monitor<Value>: @unchecked Sendable {
    private var value: Value
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    package init(_ value: Value) {
        self.value = value
        pthread_mutex_init(lock, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        pthread_cond_destroy(changed)
        lock.deallocate()
        changed.deallocate()
    }

    /// Changes the value and wakes those who wait.
    package func update<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(lock)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(lock)
        }
        return body(&value)
    }

    /// Waits until `body` returns a value.
    package func wait<Result>(until body: (inout Value) -> Result?) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            if let result = body(&value) { return result }
            pthread_cond_wait(changed, lock)
        }
    }
}

/// A thread that does blocking work in the order it is given.
public final class WorkerThread: BackgroundWorker {
    private struct Queue {
        var work: [@Sendable () -> Void] = []
        var isStopping = false
        var hasStopped = false
    }

    private let queue = Monitor(Queue())

    /// - Parameter niceness: 0...19: how readily it leaves the processor to threads that answer clients.
    public init(name: String, niceness: Int32 = 0) {
        PlatformThread.start(name: name) { [queue] in
            if niceness > 0 { clinux_be_nice(niceness) }
            while let batch = Self.next(queue) {
                for work in batch { work() }
            }
            queue.update { $0.hasStopped = true }
        }
    }

    deinit { queue.update { $0.isStopping = true } }

    private static func next(_ queue: Monitor<Queue>) -> [@Sendable () -> Void]? {
        queue.wait { waiting -> [@Sendable () -> Void]?? in
            if !waiting.work.isEmpty {
                let batch = waiting.work
                waiting.work = []
                return .some(batch)
            }
            return waiting.isStopping ? .some(nil) : nil
        }
    }

    public func run(_ work: @escaping @Sendable () -> Void) {
        queue.update { if !$0.isStopping { $0.work.append(work) } }
    }

    /// Lets what was given finish, then ends the thread; returns when it has ended.
    public func stop() {
        queue.update { $0.isStopping = true }
        queue.wait { $0.hasStopped ? () : nil }
    }
}
