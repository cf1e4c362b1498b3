// What becomes of a transfer: its attempts, their ends, and the end of the
// request. Every edge of Transfer.Phase is a method here.

internal import Base
internal import Foundation

extension TransferLoop {
  // MARK: Begin

  /// Edge to opening: the part file and what it holds.
  func open(_ transfer: Transfer) {
    let (path, expectation) = (transfer.request.partPath, transfer.request.expectation)
    let (control, interval) = (control, configuration.checkpointByteCount)
    let means = PartFile.Means(
      queue: transfer.queue, pool: pool, takesRoom: transfer.request.takesRoom,
      lackOfRoom: transfer.request.lackOfRoom, remedy: transfer.request.remedy,
      wayToArray: transfer.request.wayToArray, onOtherKind: transfer.request.onOtherKind,
      onRoom: { control.loop.poke() }, examination: transfer.request.examination)
    onDisk(transfer) {
      do throws(TarnError) {
        return .opened(
          .success(
            try PartFile(opening: path, expectation: expectation, checkpointByteCount: interval, means: means)))
      } catch {
        return .opened(.failure(error))
      }
    }
  }

  /// Runs a step on the transfer's disk queue and reports what it returns.
  func onDisk(_ transfer: Transfer, _ step: @escaping @Sendable () -> DiskReport) {
    let (control, tag) = (control, transfer.tag)
    transfer.queue.async { control.post(step(), for: tag) }
  }

  /// Edge from waiting to exchanging, copying or finishing: an attempt.
  func begin(_ transfer: Transfer) {
    transfer.walk.begin()
    let question = transfer.question(configuration)
    transfer.attempt = Transfer.Attempt(
      number: transfer.walk.attemptCount, offset: question.offset, startedAt: Date())
    emit(
      .started(
        requestID: transfer.request.id, mirrorID: transfer.mirror.id, attempt: transfer.walk.attemptCount))
    if hosts[transfer.address.origin]?.standing.isRefusing(configuration.refusalsPerHost) ?? false {
      end(transfer, .mirrorFault(TarnError(.refused, "the host has refused \(configuration.refusalsPerHost) times")))
    } else if transfer.isWholeFromCurrentMirror {
      transfer.attempt?.offset = transfer.part?.byteCount ?? 0
      finish(transfer)
    } else if transfer.address.scheme == .file {
      copy(transfer)
    } else if let command = transfer.address.command {
      run(command, for: transfer)
    } else {
      exchange(on: RedirectCourse(from: transfer.address), for: transfer, question)
    }
  }

  private func exchange(on course: RedirectCourse, for transfer: Transfer, _ question: RangeQuestion) {
    guard let part = transfer.part else { preconditionFailure("an exchange without a part file") }
    let order = HTTPExchange.Order(
      question: question, condition: question.isConditional ? transfer.request.condition : nil,
      source: transfer.source)
    do throws(TarnError) {
      let exchange = try HTTPExchange(
        on: course, order: order, part: part, tag: transfer.tag, configuration: configuration)
      try add(exchange, of: transfer)
    } catch {
      end(transfer, failure(for: error))
    }
  }

  private func copy(_ transfer: Transfer) {
    guard let part = transfer.part else { preconditionFailure("a copy without a part file") }
    transfer.phase = .copying
    let (path, source, request) = (transfer.address.filePath, transfer.source, transfer.request)
    let (control, tag) = (control, transfer.tag)
    if part.source == source { transfer.attempt?.offset = part.byteCount }
    let pace = CopyPace(configuration)
    transfer.pace = pace
    shareBandwidth()
    pace.owe(debtToPay())
    onDisk(transfer) {
      do throws(TarnError) {
        var reported = 0
        let outcome = try part.onDiskQueue { () throws(TarnError) in
          try LocalCopy.run(
            from: path, into: part, source: source, condition: request.condition,
            expectedByteCount: request.expectation.byteCount, pace: pace,
            isStopped: { control.loop.isCancelled },
            onProgress: { byteCount in
              // Under a limit as often as that brings something to tell.
              guard byteCount - reported >= 4 * pace.pieceByteCount(atMost: 16 << 20) else { return }
              reported = byteCount
              control.post(.copying(byteCount: byteCount), for: tag)
            })
        }
        return .copied(.success(outcome))
      } catch {
        return .copied(.failure(error))
      }
    }
  }

  /// Edge to finishing: every byte is here.
  private func finish(_ transfer: Transfer) {
    guard let part = transfer.part else { preconditionFailure("a finish without a part file") }
    transfer.phase = .finishing
    reportProgress(of: transfer, byteCount: part.byteCount, total: part.wholeByteCount)
    let finalPath = transfer.request.finalPath
    onDisk(transfer) {
      do throws(TarnError) {
        return .finished(.success(try part.finish(as: finalPath)))
      } catch {
        return .finished(.failure(error))
      }
    }
  }

  // MARK: Reports of the disk

  /// Takes what a disk queue reports.
  func take(_ report: DiskReport, of transfer: Transfer) {
    if case .copied = report, let pace = transfer.pace {
      debt.add(pace.debt, at: configuration.copyClock())
      transfer.pace = nil
      shareBandwidth()
    }
    switch report {
    case .opened(.success(let part)):
      transfer.part = part
      transfer.preferMirrorOfPartial()
      transfer.phase = .waiting(until: .now)
      if isStopping { stop(transfer) }
    case .opened(.failure(let error)): close(transfer, .failure(located(error, transfer)))
    case .copying(let byteCount):
      reportProgress(of: transfer, byteCount: byteCount, total: transfer.request.expectation.byteCount)
    case .copied(.success(.copied)):
      if let part = transfer.part, let attempt = transfer.attempt {
        transfer.attempt?.receivedByteCount = max(0, part.byteCount - attempt.offset)
      }
      finish(transfer)
    case .copied(.success(.unchanged)): succeed(transfer, .unchanged(mirrorID: transfer.mirror.id))
    case .copied(.failure(let error)): end(transfer, failure(for: error))
    case .ran(let record, let result): ran(record, result, for: transfer)
    case .finished(.success(let file)):
      transfer.attempt?.command?.output = file.digest
      guard let part = transfer.part else { return }
      succeed(
        transfer,
        .fetched(
          FetchedShard(
            digest: file.digest, states: file.states, byteCount: file.byteCount, rowCount: file.rowCount,
            validator: part.validator,
            mirrorID: transfer.mirror.id, path: file.path)))
    case .finished(.failure(let error)):
      // A file that was put together from two answers gets a second chance whole.
      if error.code == .integrity, let attempt = transfer.attempt, attempt.offset > 0 {
        end(transfer, .restart(error))
      } else {
        end(transfer, failure(for: error))
      }
    case .putAside:
      guard case .closing(let result) = transfer.phase else { return }
      emit(.finished(requestID: transfer.request.id, result))
      transfer.phase = .ended
    }
  }

  // MARK: Ends of exchanges

  /// Edge from exchanging to whatever the verdict and the body ask for.
  func exchangeEnded(_ exchange: HTTPExchange, of transfer: Transfer, _ ending: RequestEnd) {
    transfer.attempt?.receivedByteCount += exchange.receivedByteCount
    let answer = exchange.answer
    transfer.attempt?.httpStatus = answer.statusCode
    transfer.attempt?.metPage = answer.isPage || answer.hasBody && transfer.part?.beginsAsText ?? false
    if let fault = answer.failure { return end(transfer, failure(for: fault)) }
    guard let verdict = answer.verdict else {
      return end(transfer, failure(for: exchange.request.networkError(ending)))
    }
    let origin = transfer.address.origin
    switch verdict {
    case .acceptFromStart, .acceptAtOffset:
      hosts[origin]?.standing.served()
      bodyEnded(exchange, of: transfer, ending)
    case .alreadyComplete:
      guard transfer.part?.isWhole ?? false else {
        return end(transfer, .restart(TarnError(.integrity, "a 416 for a file that is not whole")))
      }
      finish(transfer)
    case .unchanged: succeed(transfer, .unchanged(mirrorID: transfer.mirror.id))
    case .restart(let cause): end(transfer, .restart(TarnError(.integrity, cause)))
    case .retryBareRange:
      transfer.wantsBareRange = true
      end(transfer, .bareRange)
    case .retryWhole(let cause):
      transfer.wantsWhole = true
      end(transfer, .whole(TarnError(.refused, cause)))
    case .redirect(let location): follow(location, from: exchange, of: transfer)
    case .nextMirror(let code, let cause):
      if code == .refused { hosts[origin, default: Host()].standing.refused() }
      let wayIn = configuration.wayIn(
        to: exchange.address, after: answer.statusCode, isWithheld: exchange.request.isLoginWithheld)
      end(transfer, .mirrorFault(answer.explaining(TarnError(code, cause, hint: wayIn))))
    case .retryLater(let wait, let cause):
      if let wait { hosts[origin, default: Host()].standing.asked(toWait: wait, at: .now) }
      end(transfer, .temporary(after: wait, answer.explaining(TarnError(.temporary, cause))))
    }
  }

  /// R8: a body counts only if the shard is whole by every count there is.
  private func bodyEnded(_ exchange: HTTPExchange, of transfer: Transfer, _ ending: RequestEnd) {
    guard let part = transfer.part else { preconditionFailure("a body without a part file") }
    if ending.isOK, part.isWhole { return finish(transfer) }
    let gaveWhole = transfer.wantsWhole
    guard ending.isOK else {
      return end(transfer, failure(for: exchange.request.networkError(ending)), gaveWhole: gaveWhole)
    }
    if part.head == nil {
      let cause = "\(part.byteCount) bytes are too few for a feature file"
      return end(transfer, .mirrorFault(TarnError(.integrity, cause)))
    }
    // A body that was whole by its own length is the wrong file, not a cut one;
    // a range may be shorter than asked for.
    if case .acceptFromStart(let promise) = exchange.answer.verdict,
      promise.bodyByteCount == exchange.receivedByteCount
    {
      return end(
        transfer,
        .mirrorFault(
          TarnError(
            .integrity, "the file ends after \(part.byteCount) of \(part.wholeText) bytes")))
    }
    let cause = "the connection ended after \(part.byteCount) of \(part.wholeText) bytes"
    end(transfer, .temporary(after: nil, TarnError(.temporary, cause)), gaveWhole: gaveWhole)
  }

  /// Edge from exchanging to waiting: the same bytes over another connection.
  func reroll(_ exchange: HTTPExchange, of transfer: Transfer) {
    transfer.attempt?.receivedByteCount += exchange.receivedByteCount
    transfer.attempt?.httpStatus = exchange.answer.statusCode
    end(transfer, .reroll(TarnError(.temporary, "the connection was much slower than others to its host")))
  }

  /// Follows a redirect within the attempt (S1, R18).
  private func follow(_ location: String, from exchange: HTTPExchange, of transfer: Transfer) {
    var course = exchange.course
    do throws(TarnError) {
      try course.follow(location, from: exchange.request.peer, configuration)
      self.exchange(on: course, for: transfer, exchange.order.question)
    } catch {
      end(transfer, .mirrorFault(error))
    }
  }

  // MARK: Ends of attempts

  /// Sorts an error into what it means for the next attempt.
  func failure(for error: TarnError) -> AttemptFailure {
    switch error.code {
    case .temporary: .temporary(after: nil, error)
    case .usage, .absent, .refused, .untrusted, .integrity, .badFeatures, .tls: .mirrorFault(error)
    default: .fatal(error)
    }
  }

  /// Edge to waiting for the next attempt, or to closing.
  ///
  /// - Parameters:
  ///   - transfer: The request.
  ///   - failure: How its attempt failed.
  ///   - gaveWhole: Whether the server sent the whole from byte 0.
  func end(_ transfer: Transfer, _ failure: AttemptFailure, gaveWhole: Bool = false) {
    releaseHost(of: transfer)
    // A disk that failed meanwhile outweighs what the server did.
    let failure = transfer.part?.failure.map(AttemptFailure.fatal) ?? failure
    let (error, outcome) = describe(failure)
    transfer.metPage = transfer.attempt?.metPage ?? transfer.metPage
    var asked: Duration?
    if case .temporary(let wait, _) = failure { asked = wait }
    report(transfer, transfer.part?.outgrownByteCount == nil ? outcome : .outgrown, error, retryAfter: asked)
    if failure != .bareRange { transfer.wantsBareRange = false }
    // One try: who gives the whole is asked for it from now on.
    if case .whole = failure {} else if !gaveWhole { transfer.wantsWhole = false }
    if let byteCount = transfer.part?.outgrownByteCount {
      return close(transfer, .success(.outgrown(byteCount: byteCount)))
    }
    if case .fatal = failure { return close(transfer, .failure(located(error, transfer))) }
    let held = transfer.part.map { $0.source == transfer.source ? $0.byteCount : 0 } ?? 0
    let shown = located(error, transfer)
    if case .restart = failure { transfer.part?.startOver() }
    switch transfer.walk.step(after: failure.with(shown), heldByteCount: held, using: &jitter) {
    case .again(let wait): transfer.phase = .waiting(until: .now + wait)
    case .mirror:
      transfer.wantsWhole = false
      transfer.phase = .waiting(until: .now)
    case .failed(let error):
      // That others have it not says nothing of one that was not asked.
      let isOfAsked = ![.absent, .refused].contains(error.code)
      let unasked = isOfAsked ? nil : transfer.unusable.first { $0.error.code == .untrusted }
      return close(transfer, .failure(unasked.map { $0.error.about($0.mirror.redacted) } ?? error))
    }
    if isStopping { stop(transfer) }
  }

  /// Edge from waiting to the next mirror, or to closing: the host asked for more
  /// time than a request sits out.
  func giveUpWaiting(_ transfer: Transfer, for wait: Duration) {
    end(transfer, .temporary(after: wait, TarnError(.temporary, "the host asked to be left alone for \(wait.text)")))
  }

  private func describe(_ failure: AttemptFailure) -> (TarnError, TransferAttempt.Outcome) {
    switch failure {
    case .restart(let error): (error, .restarted)
    case .bareRange: (TarnError(.integrity, "the server ignored a range that it should honour"), .restarted)
    case .whole(let error), .reroll(let error): (error, .restarted)
    case .temporary(_, let error), .mirrorFault(let error), .fatal(let error):
      (error, TransferAttempt.Outcome(error.code))
    }
  }

  /// Says of mirrors that cannot be asked why; the others are.
  func reportUnusable(_ transfer: Transfer) {
    for (mirror, error) in transfer.unusable {
      let now = Date()
      emit(
        .attemptEnded(
          TransferAttempt(
            requestID: transfer.request.id, mirrorID: mirror.id, number: 0, url: mirror.redacted,
            offset: 0, receivedByteCount: 0, httpStatus: nil, outcome: TransferAttempt.Outcome(error.code),
            mayPass: false, retryAfter: nil, errorText: error.message, learntByteCount: nil, startedAt: now,
            endedAt: now, command: nil)))
    }
  }

  private func report(
    _ transfer: Transfer, _ outcome: TransferAttempt.Outcome, _ error: TarnError?, retryAfter: Duration? = nil
  ) {
    guard let attempt = transfer.attempt else { return }
    transfer.attempt = nil
    emit(
      .attemptEnded(
        TransferAttempt(
          requestID: transfer.request.id, mirrorID: transfer.mirror.id, number: attempt.number,
          url: transfer.address.redacted, offset: attempt.offset, receivedByteCount: attempt.receivedByteCount,
          httpStatus: attempt.httpStatus, outcome: outcome,
          mayPass: outcome == .temporary || outcome == .integrity && attempt.metPage, retryAfter: retryAfter,
          errorText: error?.message,
          learntByteCount: outcome == .succeeded ? transfer.part?.byteCount : transfer.part?.outgrownByteCount,
          startedAt: attempt.startedAt, endedAt: Date(), command: attempt.command)))
  }

  /// An error with the address it is about and what to do.
  private func located(_ error: TarnError, _ transfer: Transfer) -> TarnError {
    let isPublished = transfer.request.subject == .publication
    let isCommand = transfer.address.scheme == .command
    let hint: String? =
      switch error.code {
      case .absent where isPublished: "push the version there again, or pull it from another place"
      case .integrity where isPublished: "pull it from another place"
      case .integrity where isCommand, .refused where isCommand: "run it by hand and look at what it writes"
      case .integrity where transfer.address.scheme == .file:
        "it is a file of this machine: put a good one in its place, or leave it out with `tarn source drop-shards`"
      case .absent: "add a mirror that has it with `tarn source mirror add`"
      case .refused: "check the address and the credentials for this host"
      case .temporary where (transfer.part?.byteCount ?? 0) == 0: "run the same command again later"
      case .temporary where transfer.canContinue: "run the same command again later; what arrived is kept"
      case .temporary:
        "run the same command again later; it begins at the start, as the server gives no strong ETag to go on by and "
          + "no SHA-256 is known"
      case .integrity: "the mirror serves something else; compare with another one"
      case .tls: "check the host's certificate and this machine's certificate store"
      case .interrupted: "run the same command again to continue"
      default: nil
      }
    let isAboutHere = error.code != .usage && hint == nil
    return TarnError(
      error.code, isAboutHere ? error.message : "\(transfer.address.redacted): \(error.message)",
      hint: error.hint ?? hint, place: error.place)
  }

  // MARK: Ends of requests

  private func succeed(_ transfer: Transfer, _ result: FetchResult) {
    releaseHost(of: transfer)
    if case .unchanged = result {
      report(transfer, .unchanged, nil)
      close(transfer, .success(result))
    } else {
      report(transfer, .succeeded, nil)
      emit(.finished(requestID: transfer.request.id, .success(result)))
      transfer.phase = .ended
    }
  }

  /// Stops a transfer where it stands; what arrived is kept.
  func stop(_ transfer: Transfer) {
    let error = located(TarnError(.interrupted, "stopped"), transfer)
    switch transfer.phase {
    case .exchanging(let exchange):
      remove(exchange, of: transfer)
      transfer.attempt?.receivedByteCount += exchange.receivedByteCount
      transfer.attempt?.httpStatus = exchange.answer.statusCode
      releaseHost(of: transfer)
      report(transfer, .interrupted, error)
      close(transfer, .failure(error))
    case .waiting: close(transfer, .failure(error))
    // These report soon, and are stopped or done then.
    case .opening, .running, .copying, .finishing, .closing, .ended: break
    }
  }

  /// Edge to closing: the part file is kept if a later run can use it.
  private func close(_ transfer: Transfer, _ result: Result<FetchResult, TarnError>) {
    transfer.phase = .closing(result)
    let part = transfer.part
    let isWorthless: Bool =
      switch result {
      case .success: true
      // What nobody can go on from is no more than taken room.
      // A page says nothing of what came before it.
      case .failure(let error): error.code == .integrity && !transfer.metPage || !transfer.canContinue
      }
    onDisk(transfer) {
      // The request has its result; a part file that cannot be put aside is
      // found and judged anew by the next run.
      if let part {
        do throws(TarnError) {
          if isWorthless { try part.discard() } else { try part.park() }
        } catch {}
      }
      return .putAside
    }
  }
}

extension AttemptFailure {
  /// The same failure with another error.
  fileprivate func with(_ error: TarnError) -> AttemptFailure {
    switch self {
    case .restart: .restart(error)
    case .bareRange: .bareRange
    case .whole: .whole(error)
    case .reroll: .reroll(error)
    case .temporary(let wait, _): .temporary(after: wait, error)
    case .mirrorFault: .mirrorFault(error)
    case .fatal: .fatal(error)
    }
  }
}

extension TransferAttempt.Outcome {
  fileprivate init(_ code: TarnError.Code) {
    self =
      switch code {
      case .usage: .usage
      case .absent: .absent
      case .refused, .untrusted: .refused
      case .temporary: .temporary
      case .integrity: .integrity
      case .tls: .tls
      case .diskFull: .diskFull
      case .interrupted: .interrupted
      default: .io
      }
  }
}
