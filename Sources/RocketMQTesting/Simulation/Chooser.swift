import RocketMQBase

/// Chooses at random, out of a source of its own: what one part of a simulation chooses does not depend on how often others
/// do.
public protocol Chooser: AnyObject {
    var random: RandomSource { get set }
}

extension Chooser {
    public func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }
    public func pick<Number: FixedWidthInteger>(_ range: ClosedRange<Number>) -> Number { Number.random(in: range, using: &random) }
    /// One of the elements, of which there must be some.
    public func pick<Element>(_ elements: [Element]) -> Element { elements[Int.random(in: 0..<elements.count, using: &random)] }
    /// To the millisecond.
    public func pick(_ range: ClosedRange<Duration>) -> Duration {
        .milliseconds(pick(range.lowerBound.inMilliseconds...range.upperBound.inMilliseconds))
    }
}
