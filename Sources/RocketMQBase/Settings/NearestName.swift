/// The name among `names` that `word` was probably meant to be; `nil` when none is near. Upper and lower case count as the
/// same; among equally near names the alphabetically first is taken, so that messages don't change from run to run.
public func nearestName(to word: String, among names: some Sequence<String>) -> String? {
    let wanted = Array(word.lowercased().utf8.prefix(200))
    guard !wanted.isEmpty else { return nil }
    let most = max(1, min(4, wanted.count / 3))
    var best: (name: String, distance: Int)?
    for name in names {
        let candidate = Array(name.lowercased().utf8)
        guard abs(candidate.count - wanted.count) <= most else { continue }
        let distance = editDistance(wanted, candidate)
        guard distance <= most else { continue }
        if let found = best, (found.distance, found.name) <= (distance, name) { continue }
        best = (name, distance)
    }
    return best?.name
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from one word to the other.
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforePrevious = [Int](repeating: 0, count: right.count + 1)
    var previous = Array(0...right.count)
    for (row, leftByte) in left.enumerated() {
        var current = [row + 1]
        current.reserveCapacity(right.count + 1)
        for (column, rightByte) in right.enumerated() {
            var cost = min(previous[column + 1] + 1, current[column] + 1, previous[column] + (leftByte == rightByte ? 0 : 1))
            if row > 0, column > 0, leftByte == right[column - 1], left[row - 1] == rightByte {
                cost = min(cost, beforePrevious[column - 1] + 1)
            }
            current.append(cost)
        }
        beforePrevious = previous
        previous = current
    }
    return previous[right.count]
}
