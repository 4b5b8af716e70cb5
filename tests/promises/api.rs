//! The public interface as the documentation has it: the tour of it compiles and runs, the types may
//! cross threads, and the names of the instruction sets lead back to them.

use softmargin::{
    Batch, Error, Evaluator, Isa, LinearModel, Loss, MatrixView, NonFinite, Objective, Partial,
    Predictor, Samples, Scalar,
};

fn send<T: Send>() {}
fn send_and_sync<T: Send + Sync + 'static>() {}

fn element_types_cross_threads<T: Scalar>() {
    send::<Evaluator<T>>();
    send_and_sync::<Batch<'static, T>>();
    send_and_sync::<LinearModel<T>>();
    send_and_sync::<Partial<T>>();
    send_and_sync::<MatrixView<'static, T>>();
    send_and_sync::<Samples<'static, T>>();
    send_and_sync::<Predictor<'static, T>>();
}

#[test]
fn types_cross_threads() {
    element_types_cross_threads::<f32>();
    element_types_cross_threads::<f64>();
    send_and_sync::<Isa>();
    send_and_sync::<Objective>();
    send_and_sync::<Loss>();
    send_and_sync::<NonFinite>();
    send_and_sync::<Error>();
    fn is_error<E: std::error::Error>() {}
    is_error::<Error>();
}

#[test]
fn tour() -> Result<(), Error> {
    let (n, d, c) = (4, 3, 2);
    let features: Vec<f32> = (0..12_u8).map(|value| f32::from(value) / 8.0).collect();
    let labels = [0, 1, 1, 0];

    let x = MatrixView::new(&features, n, d)?;
    let batch = Batch::new(x, &labels)?;
    let model = LinearModel::<f32>::zeros(c, d);
    let mut gradient = LinearModel::<f32>::zeros(c, d);
    let objective = Objective::cross_entropy().with_l2(1e-4);
    let mut evaluator = Evaluator::<f32>::new(objective);
    let loss: f64 = evaluator.loss_and_gradient(&model, &batch, &mut gradient)?;
    let loss_alone: f64 = evaluator.loss(&model, &batch)?;
    assert_eq!(loss, loss_alone);
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-6);
    assert_eq!(evaluator.objective(), objective);
    assert_eq!(evaluator.isa(), Isa::detect());

    let weights = [1.0, 0.5, 0.0, 2.0];
    let rows = [3, 0, 3];
    let minibatch = batch.with_sample_weights(&weights)?.select(&rows)?;
    assert_eq!(minibatch.n_samples(), 3);
    assert_eq!(minibatch.total_weight(), 5.0);
    evaluator.loss_and_gradient(&model, &minibatch, &mut gradient)?;
    assert_eq!(gradient.bias(), [-0.5, 0.5]);

    let padded = MatrixView::with_row_stride(&features, 3, 2, 4)?;
    assert_eq!((padded.rows(), padded.cols(), padded.row_stride()), (3, 2, 4));
    assert_eq!(padded.row(2), Some(&features[8..10]));
    assert_eq!(padded.row(3), None);

    let mut partial = Partial::new(c, d);
    evaluator.accumulate(&model, &batch, &mut partial)?;
    let mut other = Partial::new(c, d);
    evaluator.accumulate(&model, &minibatch, &mut other)?;
    partial.merge(&other)?;
    assert_eq!(partial.total_weight(), 9.0);
    let loss: f64 = evaluator.finish(&model, &partial, &mut gradient)?;
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-6);
    Ok(())
}

#[test]
fn model_is_one_buffer() -> Result<(), Error> {
    let mut model = LinearModel::<f64>::zeros(2, 3);
    model.weights_mut().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    model.bias_mut().copy_from_slice(&[7.0, 8.0]);
    assert_eq!(model.parameters(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    model.parameters_mut()[7] = 9.0;
    assert_eq!((model.weights()[3], model.bias()), (4.0, &[7.0, 9.0][..]));
    assert_eq!((model.n_classes(), model.n_features()), (2, 3));

    let x = [1.0, 0.0, -1.0];
    let x = MatrixView::new(&x, 1, 3)?;
    assert_eq!(model.scores(x)?, [5.0, 7.0]);
    assert_eq!(model.predict(x)?, [1]);
    let p = model.predict_proba(x)?;
    assert!((p[1] / p[0] - 2.0_f64.exp()).abs() < 1e-13);

    let parameters = model.clone().into_parameters();
    assert_eq!(LinearModel::from_parameters(2, 3, parameters)?, model);
    Ok(())
}

#[test]
fn objectives_say_what_they_are() {
    let hinge = Objective::hinge(0.5).with_l2(0.25);
    assert_eq!((hinge.loss(), hinge.l2()), (Loss::Hinge { margin: 0.5 }, 0.25));
    let cross_entropy = Objective::cross_entropy();
    assert_eq!((cross_entropy.loss(), cross_entropy.l2()), (Loss::CrossEntropy, 0.0));
    assert_eq!(cross_entropy.label_smoothing(), 0.0);
    assert_eq!(cross_entropy.with_label_smoothing(0.2).label_smoothing(), 0.2);
    for (objective, loss, name, margin) in [
        (hinge, Loss::Hinge { margin: 0.5 }, "hinge", Some(0.5)),
        (
            Objective::squared_hinge(2.0),
            Loss::SquaredHinge { margin: 2.0 },
            "squared_hinge",
            Some(2.0),
        ),
        (
            Objective::crammer_singer(2.0),
            Loss::CrammerSinger { margin: 2.0 },
            "crammer_singer",
            Some(2.0),
        ),
        (cross_entropy, Loss::CrossEntropy, "cross_entropy", None),
    ] {
        assert_eq!(objective.loss(), loss);
        assert_eq!((loss.name(), loss.margin()), (name, margin));
    }
}

#[test]
fn instruction_sets_and_their_names() {
    let available = Isa::available();
    assert_eq!(available[0].name(), "portable");
    assert_eq!(available.last(), Some(&Isa::detect()));
    for isa in &available {
        assert_eq!(isa.name().parse(), Ok(*isa));
        assert_eq!(
            (isa.to_string().as_str(), format!("{isa:?}").as_str()),
            (isa.name(), isa.name())
        );
        let evaluator = Evaluator::<f32>::new(Objective::hinge(1.0)).with_isa(*isa);
        assert_eq!(evaluator.isa(), *isa);
    }
    let mut names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
    names.dedup();
    assert_eq!(names.len(), available.len());

    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        assert_eq!(names.contains(&"avx2"), avx2);
        if is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            assert!(names.contains(&"avx512"));
        }
    }
    #[cfg(target_arch = "aarch64")]
    assert_eq!(names, ["portable", "neon"]);
}
