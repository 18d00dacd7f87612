"""The papers behind the networks, as BibTeX, by the name that a variant's source gives."""

PAPERS = {
    "LeCun et al. 1998": """\
@article{lecun1998gradient,
  title   = {Gradient-based learning applied to document recognition},
  author  = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE},
  volume  = {86}, number = {11}, pages = {2278--2324}, year = {1998}
}""",
    "Krizhevsky et al. 2012": """\
@inproceedings{krizhevsky2012imagenet,
  title     = {{ImageNet} classification with deep convolutional neural networks},
  author    = {Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {25}, year = {2012}
}""",
    "arXiv:1404.5997": """\
@article{krizhevsky2014weird,
  title   = {One weird trick for parallelizing convolutional neural networks},
  author  = {Krizhevsky, Alex},
  journal = {arXiv:1404.5997}, year = {2014}
}""",
    "arXiv:1312.4400": """\
@article{lin2013network,
  title   = {Network in network},
  author  = {Lin, Min and Chen, Qiang and Yan, Shuicheng},
  journal = {arXiv:1312.4400}, year = {2013}
}""",
    "arXiv:1409.1556": """\
@article{simonyan2014very,
  title   = {Very deep convolutional networks for large-scale image recognition},
  author  = {Simonyan, Karen and Zisserman, Andrew},
  journal = {arXiv:1409.1556}, year = {2014}
}""",
    "arXiv:1409.4842": """\
@article{szegedy2014going,
  title   = {Going deeper with convolutions},
  author  = {Szegedy, Christian and Liu, Wei and Jia, Yangqing and Sermanet, Pierre and Reed, Scott and
             Anguelov, Dragomir and Erhan, Dumitru and Vanhoucke, Vincent and Rabinovich, Andrew},
  journal = {arXiv:1409.4842}, year = {2014}
}""",
    "arXiv:1512.03385": """\
@article{he2015deep,
  title   = {Deep residual learning for image recognition},
  author  = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  journal = {arXiv:1512.03385}, year = {2015}
}""",
    "arXiv:1605.07146": """\
@article{zagoruyko2016wide,
  title   = {Wide residual networks},
  author  = {Zagoruyko, Sergey and Komodakis, Nikos},
  journal = {arXiv:1605.07146}, year = {2016}
}""",
    "arXiv:1608.06993": """\
@article{huang2016densely,
  title   = {Densely connected convolutional networks},
  author  = {Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.},
  journal = {arXiv:1608.06993}, year = {2016}
}""",
    "arXiv:1611.05431": """\
@article{xie2016aggregated,
  title   = {Aggregated residual transformations for deep neural networks},
  author  = {Xie, Saining and Girshick, Ross and Doll{\\'a}r, Piotr and Tu, Zhuowen and He, Kaiming},
  journal = {arXiv:1611.05431}, year = {2016}
}""",
    "arXiv:2201.03545": """\
@article{liu2022convnet,
  title   = {A {ConvNet} for the 2020s},
  author  = {Liu, Zhuang and Mao, Hanzi and Wu, Chao-Yuan and Feichtenhofer, Christoph and Darrell, Trevor and
             Xie, Saining},
  journal = {arXiv:2201.03545}, year = {2022}
}""",
    "arXiv:2404.00498": """\
@article{jordan2024cifar,
  title   = {94\\% on {CIFAR-10} in 3.29 seconds on a single {GPU}},
  author  = {Jordan, Keller},
  journal = {arXiv:2404.00498}, year = {2024}
}""",
}
