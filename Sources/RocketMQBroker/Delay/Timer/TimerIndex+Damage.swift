import RocketMQBase

/// Pages of runs that cannot be read: the log has all that they held.
extension TimerIndex {
    func damaged(_ run: TimerRun, _ page: Int64, _ error: FileSystemError) {
        guard repair != nil else { return run.giveUp(error) }
        let count = TimerRunLayout.entries(inPage: page, of: run.info.count)
        log.log(
            .error, limitedBy: "damaged timer runs",
            "\(error); \(count) messages that wait for their time stand there, they are looked for in the log and may come late")
        damagedPages.append((run, page))
    }

    /// Begins to mend a page; false when there is nothing to be mended.
    func repairNext() -> Bool {
        guard let repair, !repair.isStopped else { return false }
        while let (run, page) = damagedPages.first {
            damagedPages.removeFirst()
            guard runs.contains(where: { $0 === run }), !run.isAtEnd else { continue }
            isBusy = true
            let wanted = TimerRepair.Wanted(page, of: run)
            let others = runs.filter { $0 !== run }.map(\.input)
            repair.find(wanted, others: others, inMemory: inMemory(wanted.holds)) { [self] result in
                isBusy = false
                repaired(run, page, result)
            }
            return true
        }
        return false
    }

    private func repaired(_ run: TimerRun, _ page: Int64, _ result: Result<[TimerEntry], FileSystemError>?) {
        // The broker ends: the next start finds the page as this one did.
        guard let result else { return }
        switch result {
        case .success(let entries):
            log.info("page \(page) of timer run \(run.info.id) is mended: its \(entries.count) messages were found in the log")
            run.restore(page, entries)
        case .failure(let error): run.giveUp(error)
        }
        onReady?()
    }
}
