/// Runs work that may block (reads from a slow disk, `fdatasync`, deleting files) away from the event loops, in the order
/// it was given. A seam: threads in production, steps of the scheduler in a simulation.
public protocol BackgroundWorker: Sendable {
    func run(_ work: @escaping @Sendable () -> Void)
}
