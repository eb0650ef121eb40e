import RocketMQBase

/// The database of those who send in transactions: what is committed stays, what is under way goes with a crash.
public final class SimulatedDatabase {
    public enum State: Equatable { case inProgress(owner: String), committed, rolledBack }
    public enum Answer: Equatable { case inProgress, committed, rolledBack, absent, unavailable }

    private let simulation: Simulation
    private var states: [String: State] = [:]
    public private(set) var isUp = true

    init(_ simulation: Simulation) { self.simulation = simulation }

    /// Begins the local part; false when it cannot, or when someone has barred it.
    func begin(_ key: String, by owner: String) -> Bool {
        guard isUp, states[key] == nil else { return false }
        states[key] = .inProgress(owner: owner)
        return true
    }

    /// What the one who commits learns. Now and then the answer gets lost: `unavailable`, and yet committed.
    func commit(_ key: String, by owner: String) -> Answer {
        guard isUp else { return .unavailable }
        guard states[key] == .inProgress(owner: owner) else { return states[key] == .rolledBack ? .rolledBack : .unavailable }
        states[key] = .committed
        return simulation.chance(0.05) ? .unavailable : .committed
    }

    func rollBack(_ key: String, by owner: String) {
        guard isUp, states[key] == .inProgress(owner: owner) else { return }
        states[key] = .rolledBack
    }

    func look(_ key: String) -> Answer {
        guard isUp else { return .unavailable }
        return switch states[key] {
        case .inProgress: .inProgress
        case .committed: .committed
        case .rolledBack: .rolledBack
        case nil: .absent
        }
    }

    /// Makes sure that a local part that has not committed never will; what it is now.
    func bar(_ key: String) -> Answer {
        guard isUp else { return .unavailable }
        if states[key] != .committed { states[key] = .rolledBack }
        return look(key)
    }

    func isCommitted(_ key: String) -> Bool { states[key] == .committed }

    // MARK: Faults

    /// A client is gone: what it had under way is undone.
    func abort(_ owner: String) { states = states.filter { $0.value != .inProgress(owner: owner) } }

    func crash() {
        isUp = false
        states = states.filter { if case .inProgress = $0.value { false } else { true } }
    }

    func restart() { isUp = true }
}
